import Foundation
import Testing

@testable import SluiceCLI

@Suite struct ProgressMeterTests {
    private let mebibyte: UInt64 = 1 << 20

    @Test("The speed is that of the last seconds, and the time left follows from it")
    func speed() {
        var meter = ProgressMeter()
        #expect(meter.line(width: 80) == nil)
        meter.update("copying", 0, of: 100 * mebibyte, at: .zero)
        #expect(meter.line(width: 80) == "copying [....................] 0 % of 100.0 MiB")
        for second in 1...5 {
            meter.update("copying", UInt64(second) * 10 * mebibyte, of: 100 * mebibyte, at: .seconds(second))
        }
        #expect(meter.line(width: 80) == "copying [##########..........] 50 % of 100.0 MiB, 10.0 MiB/s, 5.0 s left")
        // It becomes slow, and what was fast is soon forgotten.
        for second in 6...10 {
            meter.update("copying", UInt64(45 + second) * mebibyte, of: 100 * mebibyte, at: .seconds(second))
        }
        #expect(meter.line(width: 80) == "copying [###########.........] 55 % of 100.0 MiB, 1.0 MiB/s, 45.0 s left")
        for second in 11...20 { meter.sample(at: .seconds(second)) }
        #expect(meter.line(width: 80) == "copying [###########.........] 55 % of 100.0 MiB, 0 B/s, stalled")
    }

    @Test("A new phase begins anew, and a total that is not known has no share")
    func phases() {
        var meter = ProgressMeter()
        meter.update("copying", 100 * mebibyte, of: 100 * mebibyte, at: .zero)
        meter.update("downloading", 0, of: nil, at: .seconds(1))
        meter.update("downloading", 6 * mebibyte, of: nil, at: .seconds(3))
        #expect(meter.line(width: 80) == "downloading 6.0 MiB, 3.0 MiB/s")
    }

    @Test("A line is never wider than the terminal", arguments: [0, 5, 10, 20, 30, 45, 60, 79])
    func width(columns: Int) throws {
        var meter = ProgressMeter()
        for second in 0...3 {
            meter.update("unpacking", UInt64(second) * 1234 * mebibyte, of: 987_654 * mebibyte, at: .seconds(second))
        }
        let line = try #require(meter.line(width: columns))
        #expect(line.count <= columns)
        #expect(columns < 20 || line.contains("0 %"))
    }
}

@Suite struct ProgressBarTests {
    /// A copy that is held up for more than a second, in a terminal of 80 columns made by `script`.
    private static let watched = #"""
        import os, pty, signal, sys, time
        arguments = sys.argv[1:]
        child, terminal = pty.fork()
        if child == 0:
            os.execv(arguments[0], arguments)
        time.sleep(0.05)
        os.kill(child, signal.SIGSTOP)
        time.sleep(1.2)
        os.kill(child, signal.SIGCONT)
        while True:
            try:
                data = os.read(terminal, 65536)
            except OSError:
                break
            if not data:
                break
            sys.stdout.buffer.write(data)
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        """#

    @Test("A terminal gets a bar after a second, which is erased; nobody else gets one")
    func terminal() async throws {
        let shell = try await TestShell.withPool()
        let image = shell.path("image.raw")
        try await shell.tool("dd", "if=/dev/urandom", "of=\(image)", "bs=1M", "count=256", "status=none")
        let arguments = ["--home", shell.home, "volume", "import"]
        let seen = try await shell.execute(
            "/usr/bin/env",
            ["python3", "-c", Self.watched, TestShell.sluicePath] + arguments + ["p/seen", image, "--format", "raw"])
        #expect(seen.status == 0, "\(seen)")
        // The bar may not be drawn at all on a machine that copies faster than it draws: what is drawn is erased.
        let lines = seen.output.components(separatedBy: "\r\u{1B}[K")
        #expect(lines.last?.hasPrefix("imported ") == true, "\(seen.output)")
        #expect(lines.dropFirst().dropLast().allSatisfy { $0.hasPrefix("importing ") && $0.contains(" %") })
        let quiet = try await shell.execute(
            TestShell.sluicePath, arguments + ["p/quiet", image, "--format", "raw"])
        #expect(quiet.status == 0 && quiet.error.isEmpty && !quiet.output.contains("\r"))
        let json = try await shell.execute(
            "/usr/bin/env",
            ["python3", "-c", Self.watched, TestShell.sluicePath, "--json"] + arguments
                + ["p/json", image, "--format", "raw"])
        #expect(json.status == 0 && !json.output.contains("\u{1B}"))
    }
}

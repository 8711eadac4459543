import BlockStorage
import Glibc
import IORuntime
import ISCSIPool

/// Reads or writes 4 KiB at random places of a LUN, by one session on one executor, and prints one line: requests each
/// second, and microseconds of processor time for each.
///
/// For `Fixtures/bench-iscsi`, which compares that with libiscsi's and QEMU's own.
@main
struct ISCSIBenchmark {
    static func main() async throws {
        let arguments = CommandLine.arguments
        guard arguments.count == 6, let depth = Int(arguments[4]), let seconds = UInt64(arguments[5]),
            ["read", "write"].contains(arguments[3])
        else {
            print("usage: ISCSIBenchmark PORTAL /IQN/LUN read|write DEPTH SECONDS")
            exit(64)
        }
        let isWrite = arguments[3] == "write"
        let path = try ISCSIPath(arguments[2])
        let target = ISCSITarget(
            portals: [arguments[1]], name: path.target, initiatorName: "iqn.2026-01.org.sluice:benchmark")
        let executor = IOExecutorGroup(count: 1).next()
        let line = try await Task.detached(executorPreference: executor) {
            let volume = try await ISCSIVolume.open(target, lun: path.lun)
            let before = processorTime()
            let started = MonotonicTime.nanoseconds()
            let count = try await withThrowingTaskGroup(of: Int.self) { group in
                for seed in 0..<depth {
                    group.addTask {
                        try await run(volume, isWrite, seed: UInt64(seed), until: started + seconds * 1_000_000_000)
                    }
                }
                var count = 0
                for try await part in group { count += part }
                return count
            }
            let elapsed = Double(MonotonicTime.nanoseconds() - started) / 1e9
            let spent = processorTime() - before
            try await volume.close()
            return "\(Double(count) / elapsed) \(spent * 1e6 / Double(count))"
        }.value
        print(line)
    }

    static func run(
        _ volume: ISCSIVolume, _ isWrite: Bool, seed: UInt64, until end: UInt64
    ) async throws(StorageError) -> Int {
        var generator = SeededGenerator(seed: seed)
        var buffer = IOBuffer(byteCount: 4096)
        buffer.zero()
        let places = volume.geometry.size / 4096
        var count = 0
        while MonotonicTime.nanoseconds() < end {
            let offset = UInt64.random(in: 0..<places, using: &generator) * 4096
            if isWrite {
                try await volume.write(buffer.bytes, at: offset)
            } else {
                var bytes = buffer.mutableBytes
                try await volume.read(into: &bytes, at: offset)
            }
            count += 1
        }
        return count
    }

    /// What this process has used of all processors, in seconds.
    static func processorTime() -> Double {
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) / 1e6 }
        return seconds(usage.ru_utime) + seconds(usage.ru_stime)
    }
}

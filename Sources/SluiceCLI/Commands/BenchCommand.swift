import ArgumentParser
import BlockStorage
import Sluice

extension BenchmarkPlan.Pattern: ExpressibleByArgument {}

struct BenchCommand: HostCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench", abstract: "Load a volume and measure it.",
        discussion: """
            Patterns that write destroy what the volume holds. With --json the output has fio's layout. With \
            --rate-iops latencies count from the time at which a request was due.

            Example: sluice bench fast/scratch --rw randread --bs 4k --iodepth 32 --runtime 10
            Example: sluice bench fast/scratch --rw write --bs 64k --step 64k --iodepth 32 --count 100000
            """)

    @OptionGroup var global: GlobalOptions
    @Argument(help: "POOL/NAME, or POOL/NAME@SNAPSHOT to read.")
    var volume: VolumeAddress
    @Option(help: "read, write, randread, randwrite or randrw.")
    var rw: BenchmarkPlan.Pattern
    @Option(help: ArgumentHelp("Bytes of a request.", valueName: "s"))
    var bs = ByteCount(4096)
    @Option(help: ArgumentHelp("Requests in flight in each job.", valueName: "n"))
    var iodepth = 1
    @Option(help: ArgumentHelp("How long; 10 where there is no --count.", valueName: "seconds"))
    var runtime: Double?
    @Option(help: ArgumentHelp("Requests of each job.", valueName: "n"))
    var count: UInt64?
    @Option(help: ArgumentHelp("With read and write: request k goes to k times this, modulo the size.", valueName: "s"))
    var step: ByteCount?
    @Option(help: ArgumentHelp("Jobs, each on an executor.", valueName: "n"))
    var jobs = 1
    @Flag(help: "Go past the page cache (O_DIRECT).")
    var direct = false
    @Flag(help: "Each write is durable when it completes.")
    var sync = false
    @Option(name: .customLong("rate-iops"), help: ArgumentHelp("Requests a second of each job.", valueName: "n"))
    var rate: UInt64?
    @Option(help: ArgumentHelp("The same seed gives the same offsets.", valueName: "n"))
    var seed: UInt64 = 1

    func validate() throws {
        if let runtime, !(runtime > 0 && runtime <= 31_536_000) {
            throw ValidationError("--runtime is more than 0 seconds, and at most a year")
        }
    }

    func run(_ context: CommandContext) async throws -> ExitCode {
        var plan = BenchmarkPlan(pattern: rw, blockSize: bs.bytes, depth: iodepth)
        plan.jobs = jobs
        plan.runtime = (runtime ?? (count == nil ? 10 : nil)).map { .seconds($0) }
        plan.count = count
        plan.step = step?.bytes
        plan.isDurable = sync
        plan.requestsPerSecond = rate
        plan.seed = seed
        let opened = try await context.host.openVolume(
            volume, mode: rw.writes ? .exclusive : .readOnly, isDirect: direct)
        let results: [BenchmarkResult]
        do {
            results = try await VolumeBenchmark.run(plan, on: opened)
        } catch {
            try? await opened.close()
            throw error
        }
        try await opened.close()
        let report = BenchReport(volume: "\(volume)", plan: plan, isDirect: direct, results: results)
        return context.print(report.json, report.text)
    }
}

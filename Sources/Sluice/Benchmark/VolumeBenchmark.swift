import BlockStorage
import Foundation
import Histogram
import IORuntime
import VolumeQoS

/// Loads a volume and measures it: the generator itself takes no lock, no thread hop and no memory for a request.
public enum VolumeBenchmark {
    /// Runs the plan; one result for each job. The first error of a request ends all jobs and is thrown.
    public static func run(
        _ plan: BenchmarkPlan, on volume: any Volume, executors: [IOExecutor] = IOExecutorGroup.shared.executors,
        clock: any ThrottleClock = MonotonicClock()
    ) async throws(StorageError) -> [BenchmarkResult] {
        try plan.check(volume.geometry)
        let size = volume.geometry.size
        let processor = ProcessorTime.now
        let outcome = await withTaskGroup(of: Result<(Int, BenchmarkResult), StorageError>.self) { group in
            for index in 0..<plan.jobs {
                let executor = executors[index % executors.count]
                group.addTask(executorPreference: executor) {
                    let job = BenchmarkJob(plan, size: size, index: index, clock)
                    do throws(StorageError) {
                        return .success((index, try await job.run(on: volume)))
                    } catch {
                        return .failure(error)
                    }
                }
            }
            var results: [(Int, BenchmarkResult)] = []
            var failure: StorageError?
            for await result in group {
                do throws(StorageError) {
                    results.append(try result.get())
                } catch {
                    // Those that end because another failed say `cancelled`: the first one counts.
                    failure = failure ?? error
                    group.cancelAll()
                }
            }
            return failure.map { .failure($0) } ?? Result<_, StorageError>.success(results)
        }
        let used = ProcessorTime.now
        return try outcome.get().sorted { $0.0 < $1.0 }.map { _, result in
            var result = result
            result.userTime = used.user - processor.user
            result.systemTime = used.system - processor.system
            return result
        }
    }
}

/// One job: `depth` tasks on one executor, which share offsets and counts without a lock.
private final class BenchmarkJob: @unchecked Sendable {
    // Sound: created and used by tasks of one executor, which is one thread.
    private let plan: BenchmarkPlan
    private let clock: any ThrottleClock
    private var offsets: OffsetGenerator
    private var result = BenchmarkResult()
    private var sent: UInt64 = 0
    /// Workers whose buffers are not filled yet: the time runs when all are.
    private var unprepared: Int
    private var start: UInt64 = 0
    private var end: UInt64 = .max
    private var failure: StorageError?

    init(_ plan: BenchmarkPlan, size: UInt64, index: Int, _ clock: any ThrottleClock) {
        (self.plan, self.clock, unprepared) = (plan, clock, plan.depth)
        offsets = OffsetGenerator(plan, size: size, job: index)
    }

    func run(on volume: any Volume) async throws(StorageError) -> BenchmarkResult {
        await withDiscardingTaskGroup { group in
            for index in 0..<plan.depth {
                group.addTask { await self.work(on: volume, worker: index) }
            }
        }
        if let failure { throw failure }
        result.elapsed = .nanoseconds(Int64(clamping: clock.now() - start))
        return result
    }

    private func startClock() {
        start = clock.now()
        if let runtime = plan.runtime {
            end = start.addingSaturating(UInt64(clamping: Int64(runtime / .nanoseconds(1))))
        }
    }

    private func work(on volume: any Volume, worker: Int) async {
        var buffer = IOBuffer(byteCount: Int(plan.blockSize))
        if plan.pattern.writes { buffer.fillWithNoise(seed: plan.seed &+ UInt64(worker)) }
        unprepared -= 1
        if unprepared == 0 { startClock() }
        while unprepared > 0 { await Task.yield() }
        let options: WriteOptions = plan.isDurable ? .forceUnitAccess : []
        do throws(StorageError) {
            while failure == nil, sent < plan.count ?? .max {
                let number = sent
                sent += 1
                var due = clock.now()
                if let rate = plan.requestsPerSecond {
                    let planned = start.addingSaturating(Self.delay(of: number, at: rate))
                    if planned >= end { break }
                    if planned > due { await clock.sleep(until: planned) }
                    due = planned
                }
                let submitted = plan.requestsPerSecond == nil ? due : clock.now()
                if submitted >= end { break }
                if Task.isCancelled { throw StorageError(.cancelled, "run benchmark") }
                let offset = offsets.nextOffset()
                let isWrite = offsets.nextIsWrite()
                if isWrite {
                    try await volume.write(buffer.bytes, at: offset, options: options)
                } else {
                    try await volume.read(into: &buffer, 0..<buffer.byteCount, at: offset)
                }
                let completed = clock.now()
                let (completion, total) = (completed - submitted, completed - min(due, completed))
                if isWrite {
                    result.writes.record(bytes: plan.blockSize, completion: completion, total: total)
                } else {
                    result.reads.record(bytes: plan.blockSize, completion: completion, total: total)
                }
            }
        } catch {
            failure = failure ?? error
        }
    }

    /// When request `number` is due, in nanoseconds from the start.
    private static func delay(of number: UInt64, at rate: UInt64) -> UInt64 {
        let (seconds, rest) = number.quotientAndRemainder(dividingBy: rate)
        let nanoseconds: UInt64 = 1_000_000_000
        return min(seconds, UInt64.max / nanoseconds / 2) * nanoseconds + rest * nanoseconds / rate
    }
}

extension IOBuffer {
    /// Bytes that neither compress nor look like zeros.
    fileprivate mutating func fillWithNoise(seed: UInt64) {
        var value = seed | 1
        var bytes = mutableBytes
        var offset = 0
        while offset < bytes.byteCount {
            value ^= value << 13
            value ^= value >> 7
            value ^= value << 17
            bytes.storeBytes(of: UInt8(truncatingIfNeeded: value >> 32), toByteOffset: offset, as: UInt8.self)
            offset += 1
        }
    }
}

/// Processor time that this process has used.
private struct ProcessorTime {
    var user: Duration
    var system: Duration

    /// From `/proc/self/stat`, fields 14 and 15, which count in hundredths of a second.
    static var now: ProcessorTime {
        let status = (try? String(contentsOfFile: "/proc/self/stat", encoding: .utf8)) ?? ""
        // The second field may hold spaces, and ends with the last parenthesis.
        let fields = status.split(separator: ")").last?.split(separator: " ") ?? []
        let ticks = fields.dropFirst(11).prefix(2).map { Int64($0) ?? 0 }
        guard ticks.count == 2 else { return ProcessorTime(user: .zero, system: .zero) }
        return ProcessorTime(user: .milliseconds(ticks[0] * 10), system: .milliseconds(ticks[1] * 10))
    }
}

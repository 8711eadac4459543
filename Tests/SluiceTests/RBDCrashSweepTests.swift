#if RBD
    import BlockStorage
    import Foundation
    import IORuntime
    import Testing

    @testable import Sluice

    /// Whatever call to a cluster, write to an image or write of the catalog is the last thing that a process does: after
    /// the next start the operation is done or was never begun, nothing is left of it in the cluster, what another host
    /// has half done is as it was, and the operation can be repeated.
    @Suite(.serialized) struct RBDCrashSweepTests {
        private static let killCount = Locked(0)

        @Test(
            "A process may die at any call to a cluster, and the next one while it takes that up",
            arguments: PoolWorkflow.allCases)
        func kill(workflow: PoolWorkflow) async throws {
            let site = try await RBDSite.shared
            let sweep = try await PoolSweep(workflow, site)
            var (kills, finished, undone, recoveryKills) = (0, 0, 0, 0)
            for point in SweepStep.points {
                let done = site.root + "/done"
                try? FileManager.default.removeItem(atPath: done)
                await #expect(processExitsWith: .signal(SIGKILL)) {
                    [site = site as RBDSite, workflow = workflow as PoolWorkflow, point = point as Int] in
                    let steps = StepCounter(at: point) { () throws(StorageError) in Glibc.kill(getpid(), SIGKILL) }
                    let host = try await site.host { _ throws(StorageError) in try steps.step() }
                    steps.arm()
                    try await workflow.perform(host, site)
                    try Data("\(steps.count)".utf8).write(to: URL(filePath: site.root + "/done"))
                    Glibc.kill(getpid(), SIGKILL)
                }
                if FileManager.default.fileExists(atPath: done) { break }
                kills += 1
                if kills % 5 == 0 {
                    recoveryKills += 1
                    await #expect(processExitsWith: .signal(SIGKILL)) {
                        [site = site as RBDSite, point = point as Int] in
                        let steps = StepCounter(at: 1 + point % 7) { () throws(StorageError) in
                            Glibc.kill(getpid(), SIGKILL)
                        }
                        steps.arm()
                        _ = try await site.host { _ throws(StorageError) in try steps.step() }
                        Glibc.kill(getpid(), SIGKILL)
                    }
                }
                switch try await sweep.check("point \(point)") {
                case .done: finished += 1
                case .undone: undone += 1
                case nil: break
                }
            }
            try await workflow.undo(try await site.host(), site)
            let total = Self.killCount.withLock { total in
                total += kills + recoveryKills
                return total
            }
            print(
                """
                rbd \(workflow): killed at each of \(kills) points, after \(recoveryKills) of them once more while that was \
                taken up; \(finished) finished, \(undone) undone, \(kills - finished - undone) half done; \(total) kills so far
                """)
        }

        @Test("A process may die at any time during a call")
        func killAtRandom() async throws {
            let site = try await RBDSite.shared
            var generator = SeededGenerator(seed: 4)
            var finished = 0
            let count = 40
            for round in 0..<count {
                let workflow = PoolWorkflow.allCases[round % PoolWorkflow.allCases.count]
                let sweep = try await PoolSweep(workflow, site)
                let delay = UInt64.random(in: 0..<200_000, using: &generator)
                await #expect(processExitsWith: .signal(SIGKILL)) {
                    [site = site as RBDSite, workflow = workflow as PoolWorkflow, delay = delay as UInt64] in
                    let host = try await site.host()
                    let end = DispatchTime.now() + .microseconds(Int(delay))
                    DispatchQueue.global().asyncAfter(deadline: end) { Glibc.kill(getpid(), SIGKILL) }
                    try await workflow.perform(host, site)
                    Glibc.kill(getpid(), SIGKILL)
                }
                if try await sweep.check("\(workflow) after \(delay) µs") == .done { finished += 1 }
            }
            print("rbd: killed at \(count) random times: \(finished) finished, \(count - finished) undone")
        }

        @Test("What other hosts left half done is as it was, until they take it up")
        func foreignWork() async throws {
            let site = try await RBDSite.shared
            #expect(try site.incompleteImages() == site.foreignImages && site.foreignImages.count == 2)
            for member in [RBDSite.Member.second, .third] {
                #expect(try await site.host(member).intents.all().isEmpty)
            }
            #expect(try site.incompleteImages().isEmpty)
        }
    }
#endif

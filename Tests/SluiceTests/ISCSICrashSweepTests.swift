#if ISCSI
    import BlockStorage
    import Foundation
    import IORuntime
    import Testing

    @testable import Sluice

    /// Whatever call to a provisioner, write to a unit or write of the catalog is the last thing that a process does:
    /// after the next start the operation is done or was never begun, no unit, session or reservation is left of it, what
    /// is somebody else's is as it was, and the operation can be repeated.
    @Suite(.serialized) struct ISCSICrashSweepTests {
        private static let killCounts = Locked<[String: Int]>([:])

        @Test(
            "A process may die at any call to a target, and the next one while it takes that up",
            arguments: PoolWorkflow.allCases)
        func target(workflow: PoolWorkflow) async throws { try await kill(workflow, try await .onTarget) }

        @Test(
            "A process may die before and after whatever changes an array, and the next one while it takes that up",
            arguments: PoolWorkflow.allCases)
        func array(workflow: PoolWorkflow) async throws {
            var site = try await ISCSISite.onArray
            site.countsQuestions = false
            try await kill(workflow, site)
        }

        @Test(
            "A process may die at any call to an array, and the next one while it takes that up",
            arguments: PoolWorkflow.allCases)
        func arrayThoroughly(workflow: PoolWorkflow) async throws { try await kill(workflow, try await .onArray) }

        private func kill(_ workflow: PoolWorkflow, _ site: ISCSISite) async throws {
            let sweep = try await PoolSweep(workflow, site)
            var (kills, finished, undone, recoveryKills) = (0, 0, 0, 0)
            for point in SweepStep.points {
                let done = site.root + "/done"
                try? FileManager.default.removeItem(atPath: done)
                await #expect(processExitsWith: .signal(SIGKILL)) {
                    [site = site as ISCSISite, workflow = workflow as PoolWorkflow, point = point as Int] in
                    let steps = StepCounter(at: point) { () throws(StorageError) in Glibc.kill(getpid(), SIGKILL) }
                    let host = try await site.host { _ throws(StorageError) in try steps.step() }
                    steps.arm()
                    try await workflow.perform(host, site)
                    try Data("\(steps.count)".utf8).write(to: URL(filePath: site.root + "/done"))
                    Glibc.kill(getpid(), SIGKILL)
                }
                if FileManager.default.fileExists(atPath: done) { break }
                kills += 1
                if kills % 3 == 0 {
                    recoveryKills += 1
                    await #expect(processExitsWith: .signal(SIGKILL)) {
                        [site = site as ISCSISite, point = point as Int] in
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
            let name = site.array == nil ? "tgt" : "element"
            let total = Self.killCounts.withLock { counts in
                counts[name, default: 0] += kills + recoveryKills
                return counts[name] ?? 0
            }
            print(
                """
                \(name) \(workflow): killed at each of \(kills) points, after \(recoveryKills) of them once more while that \
                was taken up; \(finished) finished, \(undone) undone, \(kills - finished - undone) half done; \
                \(total) kills so far
                """)
        }
    }
#endif

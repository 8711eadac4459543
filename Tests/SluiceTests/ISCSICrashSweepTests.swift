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
        private static let killCount = Locked(0)

        @Test(
            "A process may die at any call to a target, and the next one while it takes that up",
            arguments: PoolWorkflow.allCases)
        func kill(workflow: PoolWorkflow) async throws {
            let site = try await ISCSISite.shared
            let sweep = try await PoolSweep(workflow, site)
            var (point, finished, undone, recoveryKills) = (0, 0, 0, 0)
            while true {
                point += 1
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
                if point % 3 == 0 {
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
            let (kills, total) = (
                point - 1,
                Self.killCount.withLock { total in
                    total += point - 1 + recoveryKills
                    return total
                }
            )
            print(
                """
                iscsi \(workflow): killed at each of \(kills) points, after \(recoveryKills) of them once more while that \
                was taken up; \(finished) finished, \(undone) undone, \(kills - finished - undone) half done; \
                \(total) kills so far
                """)
        }
    }
#endif

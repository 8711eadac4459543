import BlockStorage
import Foundation
import IORuntime
import Testing

@testable import Sluice

/// Whatever catalog write or pool call is the last thing that a process does: after the next start the operation is done
/// or was never begun, nothing is left of it, and it can be repeated.
@Suite(.serialized) struct CrashSweepTests {
    private static let killCount = Locked(0)

    @Test(
        "A process may die at any step of a workflow, and the next one while it takes that up",
        arguments: SweptWorkflow.allCases)
    func kill(workflow: SweptWorkflow) async throws {
        let sweep = try await WorkflowSweep(workflow)
        var (kills, finished) = (0, 0)
        for point in SweepStep.points {
            try sweep.site.reset()
            let path = sweep.directory.path
            await #expect(processExitsWith: .signal(SIGKILL)) {
                [path = path as String, workflow = workflow as SweptWorkflow, point = point as Int] in
                let site = WorkflowSite(at: path)
                let steps = StepCounter(at: point) { () throws(StorageError) in Glibc.kill(getpid(), SIGKILL) }
                let host = try await site.host { _ throws(StorageError) in try steps.step() }
                steps.arm()
                try await workflow.perform(host, site)
                try Data("\(steps.count)".utf8).write(to: URL(filePath: path + "/done"))
                Glibc.kill(getpid(), SIGKILL)
            }
            if FileManager.default.fileExists(atPath: path + "/done") { break }
            await #expect(processExitsWith: .signal(SIGKILL)) { [path = path as String, point = point as Int] in
                let steps = StepCounter(at: 1 + point % 7) { () throws(StorageError) in
                    Glibc.kill(getpid(), SIGKILL)
                }
                steps.arm()
                _ = try await WorkflowSite(at: path).host { _ throws(StorageError) in try steps.step() }
                Glibc.kill(getpid(), SIGKILL)
            }
            kills += 1
            if try await sweep.check(try await sweep.site.host(), "point \(point)") == .done { finished += 1 }
        }
        let total = Self.killCount.withLock { [kills] total in
            total += 2 * kills
            return total
        }
        print(
            """
            \(workflow): killed at each of \(kills) points, and once more while that was taken up; \(finished) finished, \
            \(kills - finished) undone, nothing half done; \(total) kills so far
            """)
    }
}

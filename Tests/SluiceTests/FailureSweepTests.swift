import BlockStorage
import IORuntime
import Testing

@testable import Sluice

/// Whatever call fails, and whenever the task is cancelled.
@Suite(.serialized) struct FailureSweepTests {
    @Test("Any step of a workflow may fail, before or after it took effect", arguments: SweptWorkflow.allCases)
    func failure(workflow: SweptWorkflow) async throws {
        let sweep = try await WorkflowSweep(workflow)
        for point in SweepStep.points {
            try sweep.site.reset()
            let steps = StepCounter(at: point) { () throws(StorageError) in
                throw StorageError(.inputOutput, "injected failure")
            }
            let host = try await sweep.site.host { _ throws(StorageError) in try steps.step() }
            steps.arm()
            do {
                try await workflow.perform(host, sweep.site)
                if steps.count < point { return }
            } catch let error as StorageError {
                #expect(error.what == "injected failure", "\(error)")
            }
            try await sweep.check(host, "point \(point)")
        }
    }

    @Test("A workflow that is cancelled at any step leaves nothing, or was done", arguments: SweptWorkflow.allCases)
    func cancellation(workflow: SweptWorkflow) async throws {
        let sweep = try await WorkflowSweep(workflow)
        let site = sweep.site
        for point in SweepStep.points {
            try site.reset()
            let task = Locked<Task<Bool, any Error>?>(nil)
            let steps = StepCounter(at: point) { () throws(StorageError) in task.withLock { $0?.cancel() } }
            let host = try await site.host { _ throws(StorageError) in try steps.step() }
            let running = Task {
                try await workflow.perform(host, site)
                return steps.count < point
            }
            task.withLock { $0 = running }
            steps.arm()
            do {
                if try await running.value { return }
                try await sweep.check(host, "point \(point)", .done)
            } catch let error as StorageError {
                #expect(error.code == .cancelled, "\(error)")
                // An attachment that is cancelled leaves the volume that was made for it.
                let isAttachment = [.attachLazy, .serve].contains(workflow)
                try await sweep.check(host, "point \(point)", isAttachment ? nil : .undone)
            }
        }
    }
}

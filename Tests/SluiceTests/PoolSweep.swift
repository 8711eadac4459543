import Testing

@testable import Sluice

/// A workflow, with what there is before it and after it.
struct PoolSweep<Site: PoolSite> {
    private let workflow: PoolWorkflow
    private let site: Site
    private let before: WorkflowSite.State
    private let after: WorkflowSite.State

    init(_ workflow: PoolWorkflow, _ site: Site) async throws {
        (self.workflow, self.site) = (workflow, site)
        let host = try await site.host()
        before = try await site.state(host)
        try await workflow.perform(host, site)
        after = try await site.state(host)
        try await workflow.undo(host, site)
    }

    /// Starts a host, and expects the workflow to be done or undone. Makes everything as it was before.
    func check(
        _ place: String, sourceLocation: SourceLocation = #_sourceLocation
    ) async throws -> WorkflowSweep.Outcome? {
        try site.forgetDead(workflow)
        let host = try await site.host()
        let found = try await site.state(host)
        let outcome: WorkflowSweep.Outcome? = found == after ? .done : found == before ? .undone : nil
        #expect(
            outcome != nil,
            "\(place): from before \(found.changes(from: before)), from after \(found.changes(from: after))",
            sourceLocation: sourceLocation)
        // What was undone is begun again by the next process.
        if outcome == .undone { return .undone }
        try await workflow.perform(host, site)
        try await workflow.undo(host, site)
        return outcome
    }
}

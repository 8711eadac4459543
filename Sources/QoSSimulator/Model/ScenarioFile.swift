/// A scenario file: one or several runs that are compared.
public struct ScenarioFile: Sendable {
    public var name: String
    public var text: String
    public var runs: [Scenario]
    public var search: CapacitySearch?
    /// Checks of the search.
    public var searchChecks: [Check]
}

/// The question how many more volumes there is room for.
public struct CapacitySearch: Sendable {
    /// The group that gets more volumes.
    public var group: String
    /// The answer is not looked for beyond this.
    public var most: Int
    /// The run that is repeated with more volumes.
    public var run: String?
}

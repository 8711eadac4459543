/// How burst credit is earned.
public enum AccrualMode: String, Sendable, Codable, CaseIterable {
    /// As Element documents it: a second's worth for each second below the maximum, however little below. A load that
    /// alternates can exceed its maximum for ever.
    case element
    /// What was not used of the maximum: over time no more than the maximum.
    case conserving
}

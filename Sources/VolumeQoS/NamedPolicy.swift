import BlockStorage
import IORuntime

/// A policy that several volumes follow, such as `gold`. Each volume has what it says for itself; a change of it is a change
/// of all of theirs, at once.
public final class NamedPolicy: Sendable {
    private struct Follower: Sendable {
        weak var volume: ThrottledVolume?
    }

    private struct State {
        var policy: QoSPolicy
        var followers: [ObjectIdentifier: Follower] = [:]
    }

    public let name: String
    private let state: Locked<State>

    public init(_ name: String, _ policy: QoSPolicy) {
        self.name = name
        state = Locked(State(policy: policy))
    }

    public var policy: QoSPolicy { state.withLock { $0.policy } }

    /// The volume has this policy from now on, whatever it had before, until it is told to `leave`.
    public func apply(to volume: ThrottledVolume) {
        // Under the lock, so that a change meanwhile is not overtaken.
        state.withLock { state in
            state.followers = state.followers.filter { $0.value.volume != nil }
            state.followers[ObjectIdentifier(volume)] = Follower(volume: volume)
            volume.setPolicy(state.policy)
        }
    }

    /// The volume keeps the policy as it is, and follows its changes no more.
    public func leave(_ volume: ThrottledVolume) {
        state.withLock { state in _ = state.followers.removeValue(forKey: ObjectIdentifier(volume)) }
    }

    /// Changes the policy of all volumes that follow it, for waiting requests too.
    public func change(to policy: QoSPolicy) {
        state.withLock { state in
            state.policy = policy
            for follower in state.followers.values { follower.volume?.setPolicy(policy) }
        }
    }
}

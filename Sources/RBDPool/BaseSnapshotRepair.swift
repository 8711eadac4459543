import BlockStorage

/// How the snapshot that clones of a template read through comes to be there, and protected, whatever state it is found
/// in, and whatever other hosts do at the same time.
///
/// It is absent, unprotected or protected. To find it made or protected by somebody else is as good as to have done so;
/// to find it gone means to begin again.
struct BaseSnapshotRepair: Equatable {
    /// What to do next.
    enum Step: Equatable { case look, create, protect, finished }

    private(set) var next = Step.look
    private var rounds = 0

    /// Somebody removes it again and again.
    private static let mostRounds = 16

    /// The result of `look`: whether it is protected; nil where it is absent.
    mutating func found(isProtected: Bool?) {
        switch isProtected {
        case nil: next = .create
        case false?: next = .protect
        case true?: next = .finished
        }
    }

    /// The result of `create`: the error with which it failed.
    mutating func created(_ failure: StorageError?) throws(StorageError) {
        if let failure, failure.code != .alreadyExists { throw failure }
        next = .protect
    }

    /// The result of `protect`.
    mutating func protected(_ failure: StorageError?) throws(StorageError) {
        switch failure?.code {
        case nil, .busy: next = .finished
        case .notFound: try restart(failure)
        default: try Self.rethrow(failure)
        }
    }

    /// The snapshot was finished, and to clone it failed: it may be gone again.
    mutating func cloneFailed(_ failure: StorageError) throws(StorageError) {
        // EINVAL: it is not protected any more.
        guard failure.code == .notFound || failure.code == .invalidArgument else { throw failure }
        try restart(failure)
    }

    private mutating func restart(_ failure: StorageError?) throws(StorageError) {
        rounds += 1
        if rounds >= Self.mostRounds { try Self.rethrow(failure) }
        next = .look
    }

    private static func rethrow(_ failure: StorageError?) throws(StorageError) {
        if let failure { throw failure }
    }
}

/// An error as the array answers it.
///
/// Names are what drivers decide by. Where each is known from: *driver* is the OpenStack driver's source, *SDK* NetApp's
/// own Python library and its tests, *manual* NetApp's API reference, *clients* other clients and test doubles, which is
/// weaker; those marked *assumed* stand for a case whose name no source tells.
public struct ElementError: Error, Hashable, Sendable, Codable {
    /// The name, which begins with x.
    public var name: String
    public var message: String
    /// 500 for everything that the array itself says.
    public var code: Int

    public init(_ name: String, _ message: String, code: Int = 500) {
        self.name = name
        self.message = message
        self.code = code
    }

    var json: JSONValue { ["name": .string(name), "message": .string(message), "code": .integer(code)] }
}

extension ElementError {
    // Requests. Clients; the manual for the first.
    static func unknownMethod(_ method: String) -> ElementError { .init("xUnknownAPIMethod", "method=\(method)") }
    static func missing(_ parameter: String) -> ElementError {
        .init("xMissingParameter", "Missing member=[\(parameter)]")
    }
    static func mistyped(_ parameter: String, _ expected: String) -> ElementError {
        .init("xInvalidParameterType", "member=[\(parameter)] must be \(expected)")
    }
    static func invalid(_ why: String) -> ElementError { .init("xInvalidParameter", why) }
    static func unrecognized(_ parameter: String, _ text: String) -> ElementError {
        .init("xUnrecognizedEnumString", "member=[\(parameter)] does not take \(text)")
    }

    // Accounts. SDK and driver; clients for the identifier.
    static func unknownAccount(_ name: String) -> ElementError { .init("xUnknownAccount", "Unknown account \(name)") }
    static func noAccount(_ id: Int) -> ElementError { .init("xAccountIDDoesNotExist", "Illegal AccountID \(id)") }
    static func duplicateUsername(_ name: String) -> ElementError {
        .init("xDuplicateUsername", "Account \(name) already exists")
    }
    // Assumed.
    static func accountHasVolumes(_ id: Int) -> ElementError {
        .init("xAccountHasVolumes", "AccountID \(id) has volumes that are not purged")
    }

    // Volumes and snapshots. SDK; clients for shrinking and snapshots.
    static func noVolume(_ id: Int) -> ElementError { .init("xVolumeIDDoesNotExist", "VolumeID \(id) does not exist.") }
    static func noSnapshot(_ id: Int) -> ElementError {
        .init("xSnapshotIDDoesNotExist", "SnapshotID \(id) does not exist.")
    }
    static var shrinkProhibited: ElementError {
        .init("xVolumeShrinkProhibited", "Lowering a volume size is not allowed.")
    }
    // Driver: it retries these.
    static func notRegistered(_ id: Int) -> ElementError {
        .init("xSliceNotRegistered", "VolumeID \(id) is not ready yet")
    }
    static func tooManySnapshots(_ limit: Int) -> ElementError {
        .init("xMaxSnapshotsPerVolumeExceeded", "A volume has at most \(limit) snapshots")
    }
    static func tooManyClones(_ limit: Int) -> ElementError {
        .init("xMaxClonesPerVolumeExceeded", "At most \(limit) clones of a volume are made at a time")
    }
    // Assumed.
    static func noClone(_ id: Int) -> ElementError { .init("xCloneIDDoesNotExist", "CloneID \(id) does not exist.") }
    static func cancelled(_ id: Int) -> ElementError { .init("xCloneCancelled", "CloneID \(id) was cancelled") }

    static func notReady(_ why: String) -> ElementError { .init("xNotReadyForIO", why) }
    static func databaseUnreachable(_ why: String) -> ElementError { .init("xDBConnectionLoss", why) }

    // Driver.
    static func exceeded(_ why: String) -> ElementError { .init("xExceededLimit", why) }
    static func noGroup(_ id: Int) -> ElementError {
        .init("xVolumeAccessGroupIDDoesNotExist", "VolumeAccessGroupID \(id) does not exist.")
    }
    static func alreadyInGroup(_ what: String, _ id: Int) -> ElementError {
        .init("xAlreadyInVolumeAccessGroup", "\(what) is already in VolumeAccessGroup \(id)")
    }
    static func notInGroup(_ what: String, _ id: Int) -> ElementError {
        .init("xNotInVolumeAccessGroup", "\(what) is not in VolumeAccessGroup \(id)")
    }
    // Clients.
    static func initiatorExists(_ name: String) -> ElementError { .init("xInitiatorExists", "\(name) exists") }
    static func noInitiator(_ what: String) -> ElementError {
        .init("xInitiatorDoesNotExist", "Initiator \(what) does not exist.")
    }
    static func noPolicy(_ id: Int) -> ElementError {
        .init("xQoSPolicyDoesNotExist", "QoSPolicyID \(id) does not exist.")
    }

    // Manual; the SDK's tests have xAsyncHandleDoesNotExist, so clients have to take both.
    static func noAsyncHandle(_ id: Int) -> ElementError {
        .init("xDBNoSuchPath", "DBClient operation requested on a non-existent path at [/asyncresults/\(id)]")
    }
}

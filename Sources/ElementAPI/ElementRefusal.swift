#if ISCSI
    import BlockStorage

    /// What the array says when it does not do what it is asked for.
    struct ElementRefusal: Decodable, Sendable {
        /// `xVolumeIDDoesNotExist`, for example.
        var name: String
        var message: String

        private enum Key: String, CodingKey { case name, message }

        init(name: String, message: String) { (self.name, self.message) = (name, message) }

        init(from decoder: any Decoder) throws {
            let container = try decoder.container(keyedBy: Key.self)
            name = try container.decodeIfPresent(String.self, forKey: .name) ?? "unnamed error"
            message = try container.decodeIfPresent(String.self, forKey: .message) ?? ""
        }

        /// Whether this is one of `names`. Arrays do not agree about capitals: `…GroupIDDoesNotExist`,
        /// `…GroupIdDoesNotExist`.
        func isOne(of names: Set<String>) -> Bool { names.contains(name.lowercased()) }

        /// The asynchronous operation is over, and its result was taken, or never was.
        var saysNoSuchHandle: Bool { isOne(of: ["xasynchandledoesnotexist", "xdbnosuchpath"]) }

        /// Goes away by itself, so that the same request is worth another try.
        var passes: Bool { isOne(of: Self.passing) }

        private static let passing: Set<String> = [
            "xdbversionmismatch", "xmaxsnapshotspervolumeexceeded", "xmaxclonespervolumeexceeded",
            "xmaxsnapshotspernodeexceeded", "xmaxclonespernodeexceeded", "xslicenotregistered", "xnotreadyforio",
            "xnotprimary", "xdboperationtimeout", "xdbconnectionloss", "xnohandler", "xsnapshotfailed", "xrecvtimeout",
            "xdbnosuchpath", "xpermissiondenied",
        ]

        var code: StorageError.Code {
            switch name.lowercased() {
            case let name where name.hasSuffix("doesnotexist"): .notFound
            case "xunknownaccount", "xnotinvolumeaccessgroup", "xunknownvolume": .notFound
            case "xduplicateusername", "xinitiatorexists", "xalreadyinvolumeaccessgroup", "xpairingalreadyexists":
                .alreadyExists
            case "xexceededlimit", "xmaxsnapshotspervolumeexceeded", "xmaxsnapshotspernodeexceeded": .quotaExceeded
            // A path of the array's database that is missing for a moment says nothing of what was asked for.
            case "xdbnosuchpath", "xmaxclonespervolumeexceeded", "xmaxclonespernodeexceeded", "xslicenotregistered",
                "xnotreadyforio", "xnotprimary", "xdbversionmismatch":
                .busy
            case "xdboperationtimeout", "xrecvtimeout": .timedOut
            case "xdbconnectionloss", "xnohandler": .connectionLost
            case "xpermissiondenied": .permissionDenied
            case "xvolumeshrinkprohibited", "xmissingparameter", "xinvalidparameter", "xinvalidparametertype",
                "xinvalidapiparameter", "xunrecognizedenumstring", "xinvalidpairingkey":
                .invalidArgument
            case "xunknownapiversion", "xunknownapimethod", "xunknownrpcmethod", "xfeaturenotenabled": .notSupported
            default: .inputOutput
            }
        }

        /// `secrets` are what the request held: an array may repeat it.
        func error(_ what: String, at place: String, hiding secrets: [Secret]) -> StorageError {
            var text = "the array says \(name)" + (message.isEmpty ? "" : ": \(message)")
            for secret in secrets {
                secret.reveal { hidden in
                    if !hidden.isEmpty { text = text.replacing(hidden, with: secret.description) }
                }
            }
            return StorageError(code, what, at: place, why: String(text.prefix(Self.longestText)))
        }

        private static let longestText = 400
    }

    /// Why a call of the array has no result.
    enum ElementCallFailure: Error {
        /// The array says why.
        case refused(ElementRefusal)
        /// There is no answer, or none that can be read.
        case failed(StorageError)
        /// The answer has more than is read of one.
        case tooLarge(StorageError)

        /// Whether the same request is worth another try.
        var passes: Bool {
            switch self {
            case .refused(let refusal): refusal.passes || refusal.isOne(of: ["xunknownapiversion"])
            case .failed(let error): error.isRetryable
            case .tooLarge: false
            }
        }

        /// Whether the array may have done what it was asked for, or may still do it.
        var mayBeDone: Bool {
            switch self {
            case .refused: passes
            case .failed(let error):
                switch error.code {
                case .authenticationFailed, .permissionDenied, .notSupported, .invalidArgument: false
                default: true
                }
            case .tooLarge: true
            }
        }
    }
#endif

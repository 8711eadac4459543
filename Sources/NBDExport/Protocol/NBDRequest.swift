import BlockStorage
import IORuntime

/// The header of a request in the transmission phase.
struct NBDRequest: Equatable {
    /// The length of a header, in bytes.
    static let headerByteCount = 28

    var flags: NBDCommandFlags
    /// An `NBDCommand`, or a number that is none.
    var type: UInt16
    /// What the client recognises the reply by; once called handle.
    var cookie: UInt64
    /// In bytes.
    var offset: UInt64
    /// In bytes.
    var length: UInt32

    /// Decodes the first `headerByteCount` bytes, which must be there. Nil where they are no request: the stream is lost.
    @inline(__always)
    init?(_ bytes: RawSpan) {
        guard bytes.loadBigEndian(UInt32.self, at: 0) == NBD.requestMagic else { return nil }
        flags = NBDCommandFlags(rawValue: bytes.loadBigEndian(UInt16.self, at: 4))
        type = bytes.loadBigEndian(UInt16.self, at: 6)
        cookie = bytes.loadBigEndian(UInt64.self, at: 8)
        offset = bytes.loadBigEndian(UInt64.self, at: 16)
        length = bytes.loadBigEndian(UInt32.self, at: 24)
    }

    /// The bytes that follow the header.
    var payloadByteCount: UInt32 { type == NBDCommand.write.rawValue ? length : 0 }

    /// The bytes of the export that the request is about. Valid after `NBDSession.check`.
    var range: Range<UInt64> { offset..<offset.addingSaturating(UInt64(length)) }
}

/// What a client negotiated, and the rules that its requests must keep. Used by one executor at a time.
final class NBDSession {
    /// The export's name.
    let name: String
    let volume: any Volume
    let isReadOnly: Bool
    let usesStructuredReplies: Bool
    let hasAllocationContext: Bool
    /// The volume's; its size may be older than the volume's.
    private(set) var geometry: VolumeGeometry

    init(_ export: NBDServer.Export, usesStructuredReplies: Bool, hasAllocationContext: Bool) {
        name = export.name
        volume = export.volume
        isReadOnly = export.isReadOnly
        self.usesStructuredReplies = usesStructuredReplies
        self.hasAllocationContext = hasAllocationContext
        geometry = export.volume.geometry
    }

    /// The command of a request that may be carried out, or the error that answers it.
    func check(_ request: NBDRequest) throws(NBDErrorNumber) -> NBDCommand {
        guard let command = NBDCommand(rawValue: request.type) else { throw .invalid }
        var allowedFlags: NBDCommandFlags = .forceUnitAccess
        switch command {
        case .read:
            if usesStructuredReplies { allowedFlags.insert(.dontFragment) }
        case .writeZeroes: allowedFlags.formUnion([.noHole, .fastZero])
        case .blockStatus: allowedFlags.insert(.requestOne)
        case .write, .disconnect, .flush, .trim, .cache: break
        }
        guard allowedFlags.isSuperset(of: request.flags) else { throw .invalid }

        switch command {
        case .disconnect: return command
        case .flush:
            // The protocol reserves both fields.
            guard request.offset == 0, request.length == 0 else { throw .invalid }
            return command
        case .write, .trim, .writeZeroes:
            if isReadOnly { throw .notPermitted }
            try checkRange(of: request, isWrite: true)
        case .read, .cache, .blockStatus:
            try checkRange(of: request, isWrite: false)
        }
        switch command {
        case .read where request.length > NBD.largestPayload:
            throw request.flags.contains(.dontFragment) ? .overflow : .invalid
        case .write where request.length > NBD.largestPayload: throw .invalid
        case .blockStatus where !hasAllocationContext || request.length == 0: throw .invalid
        default: return command
        }
    }

    @inline(__always)
    private func checkRange(of request: NBDRequest, isWrite: Bool) throws(NBDErrorNumber) {
        if request.offset > geometry.size || UInt64(request.length) > geometry.size - request.offset {
            // It may have grown.
            geometry = volume.geometry
            guard request.offset <= geometry.size, UInt64(request.length) <= geometry.size - request.offset else {
                throw isWrite ? .noSpace : .invalid
            }
        }
        let mask = UInt64(geometry.blockSize) &- 1
        guard (request.offset | UInt64(request.length)) & mask == 0 else { throw .invalid }
    }
}

import BlockStorage

extension NBDServer {
    /// A volume that clients can open by name.
    public struct Export: Sendable {
        /// What clients ask for, at most 4096 bytes of UTF-8 without NUL.
        public let name: String
        /// For people: clients may show it.
        public let description: String
        public let volume: any Volume
        /// Whether writes are refused, because the caller or the volume says so.
        public let isReadOnly: Bool

        /// Throws `invalidArgument` for a name or description that the protocol cannot carry, and `notSupported` for a
        /// volume whose blocks are larger than 64 KiB, the most that the protocol allows.
        public init(
            name: String, description: String = "", volume: any Volume, isReadOnly: Bool = false
        ) throws(StorageError) {
            for text in [name, description] where text.utf8.count > NBD.longestString || text.utf8.contains(0) {
                throw StorageError(
                    .invalidArgument, "export volume", at: String(text.prefix(64)),
                    why: "names and descriptions are at most \(NBD.longestString) bytes without NUL")
            }
            let geometry = volume.geometry
            guard geometry.blockSize <= NBD.largestMinimumBlock else {
                throw StorageError(
                    .notSupported, "export volume", at: name,
                    why: "its blocks of \(geometry.blockSize) bytes are larger than NBD allows")
            }
            self.name = name
            self.description = description
            self.volume = volume
            self.isReadOnly = isReadOnly || geometry.isReadOnly
        }
    }
}

extension NBDServer.Export {
    /// What the export can do. `NBD_FLAG_CAN_MULTI_CONN` holds because all connections share one volume, whose flush
    /// covers every write that completed before it, whoever sent it.
    func transmissionFlags(structuredReplies: Bool) -> NBDTransmissionFlags {
        var flags: NBDTransmissionFlags = [
            .hasFlags, .sendFlush, .sendForceUnitAccess, .canMultiConnection, .sendCache,
        ]
        if isReadOnly {
            flags.insert(.readOnly)
        } else {
            flags.formUnion([.sendTrim, .sendWriteZeroes, .sendFastZero])
        }
        if structuredReplies { flags.insert(.sendDontFragment) }
        return flags
    }
}

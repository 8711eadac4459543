#if ISCSI
    import BlockStorage
    import IORuntime
    import SystemPackage

    /// This host as an initiator.
    public enum ISCSIInitiator {
        /// Where open-iscsi keeps the host's name.
        public static let nameFile: FilePath = "/etc/iscsi/initiatorname.iscsi"

        /// The host's name: that of `InitiatorName=` in `file`, in lower case, as names are compared (RFC 7143, section
        /// 4.2.7.1). Throws `notFound` where there is no file, or no name in it.
        public static func hostName(in file: FilePath = nameFile) async throws(StorageError) -> String {
            let text: String
            do throws(SystemError) {
                let opened = try await File.open(file)
                var bytes = [UInt8](repeating: 0, count: 65536)
                var span = bytes.mutableRawBytes
                let count = try await opened.read(into: &span, at: 0)
                try await opened.close()
                text = String(decoding: bytes.prefix(count), as: UTF8.self)
            } catch {
                guard error.errno == .noSuchFileOrDirectory else {
                    throw StorageError(error, "read the initiator's name", at: file.string)
                }
                throw StorageError(
                    .notFound, "read the initiator's name", at: file.string,
                    why: "this host has no name as an initiator: the file is missing, and no other name is given")
            }
            for line in text.split(whereSeparator: \.isNewline) {
                let parts = line.split(separator: "=", maxSplits: 1).map { $0.drop(while: \.isWhitespace) }
                guard parts.count == 2, parts[0].prefix(while: { !$0.isWhitespace }) == "InitiatorName" else {
                    continue
                }
                return parts[1].prefix { !$0.isWhitespace }.lowercased()
            }
            throw StorageError(
                .notFound, "read the initiator's name", at: file.string, why: "there is no line InitiatorName=")
        }
    }
#endif

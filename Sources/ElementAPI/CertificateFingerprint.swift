#if ISCSI
    import BlockStorage
    import CCrypto

    /// The SHA-256 digest of a certificate in DER, as `openssl x509 -fingerprint -sha256` prints it.
    public struct CertificateFingerprint: Hashable, Sendable {
        /// 32 bytes.
        let bytes: [UInt8]

        /// Throws `invalidArgument` for anything but 64 hexadecimal digits, with or without colons between the bytes.
        public init(_ text: String) throws(StorageError) {
            let digits = text.utf8.filter { $0 != UInt8(ascii: ":") }
            let values = digits.compactMap { Character(Unicode.Scalar($0)).hexDigitValue }
            let pairs = stride(from: 0, to: values.count - values.count % 2, by: 2)
            guard digits.count == 64, values.count == 64, text.utf8.count == 64 || text.utf8.count == 95 else {
                throw StorageError(
                    .invalidArgument, "certificate fingerprint",
                    why: "it must be the 64 hexadecimal digits of a SHA-256 digest")
            }
            bytes = pairs.map { UInt8(values[$0] << 4 | values[$0 + 1]) }
        }

        /// The fingerprint of a certificate in DER.
        init(ofCertificate certificate: [UInt8]) throws(StorageError) {
            var digest = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
            var count: UInt32 = 0
            // Sound: libcrypto reads the bytes of one array, and writes no more than the other has room for.
            guard unsafe EVP_Digest(certificate, certificate.count, &digest, &count, EVP_sha256(), nil) == 1,
                count == 32
            else { throw StorageError(.internalError, "certificate fingerprint", why: "libcrypto failed") }
            bytes = Array(digest.prefix(32))
        }
    }

    extension CertificateFingerprint: CustomStringConvertible {
        /// Pairs of digits with colons between them.
        public var description: String {
            bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16, uppercase: true) }.joined(separator: ":")
        }
    }
#endif

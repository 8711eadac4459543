#if ISCSI
    import BlockStorage
    import CCrypto
    import IORuntime

    /// The challenge-handshake authentication of iSCSI (RFC 7143, 12.1.3; RFC 1994), with MD5, which every target knows.
    enum CHAP {
        static let algorithm = "5"
        /// A challenge or a response is at most that long (RFC 7143, 12.1.3).
        static let largestByteCount = 1024

        /// What proves that one has the secret.
        static func response(_ identifier: UInt8, _ secret: Secret, _ challenge: [UInt8]) throws(StorageError)
            -> [UInt8]
        {
            let bytes = secret.reveal { [identifier] + Array($0.utf8) + challenge }
            var digest = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
            var count: UInt32 = 0
            // Sound: libcrypto reads the bytes and fills an array that has room for any digest, during the call.
            guard unsafe EVP_Digest(bytes, bytes.count, &digest, &count, EVP_md5(), nil) == 1, count == 16 else {
                throw StorageError(.notSupported, "log in", why: "libcrypto refuses MD5, which CHAP needs, here")
            }
            return Array(digest.prefix(16))
        }

        /// Whether two responses are the same, in a time that says nothing about where they differ.
        static func isSame(_ response: [UInt8], _ other: [UInt8]) -> Bool {
            response.count == other.count && zip(response, other).reduce(0) { $0 | $1.0 ^ $1.1 } == 0
        }

        /// As `0x…`.
        static func text(_ bytes: [UInt8]) -> String {
            let digits = Array("0123456789abcdef".utf8)
            return "0x"
                + String(decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
        }

        /// The bytes of `0x…` or `0b…`, the hexadecimal and the base-64 form (RFC 7143, 6.1). Nil for anything else, and
        /// for what is empty or too long.
        static func bytes(_ text: String) -> [UInt8]? {
            let digits = Array(text.utf8.dropFirst(2))
            guard !digits.isEmpty, digits.count <= 2 * largestByteCount else { return nil }
            switch text.prefix(2).lowercased() {
            case "0x": return hexadecimal(digits)
            case "0b": return base64(digits)
            default: return nil
            }
        }

        private static func hexadecimal(_ digits: [UInt8]) -> [UInt8]? {
            var bytes: [UInt8] = []
            // A digit that is alone is the lower one.
            var isUpper = digits.count % 2 == 0
            var upper: UInt8 = 0
            for digit in digits {
                guard let value = Character(UnicodeScalar(digit)).hexDigitValue.map(UInt8.init) else { return nil }
                if isUpper { upper = value << 4 } else { bytes.append(upper | value) }
                isUpper.toggle()
            }
            return bytes
        }

        private static func base64(_ digits: [UInt8]) -> [UInt8]? {
            let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
            var bytes: [UInt8] = []
            var bits: UInt32 = 0
            var bitCount = 0
            for digit in digits where digit != UInt8(ascii: "=") {
                guard let value = alphabet.firstIndex(of: digit) else { return nil }
                bits = bits << 6 | UInt32(value)
                bitCount += 6
                if bitCount >= 8 {
                    bitCount -= 8
                    bytes.append(UInt8(truncatingIfNeeded: bits >> UInt32(bitCount)))
                }
            }
            return bytes.isEmpty ? nil : bytes
        }
    }
#endif

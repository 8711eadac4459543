#if ISCSI
    import IORuntime

    /// Persistent reservations (SPC-4, 5.9 and 6.15, 6.16).
    enum SCSIReservation {
        /// Write exclusive, all registrants: whoever has registered a key may write, anybody may read, and there is
        /// one registrant at a time because each looks for others. libiscsi's own tests of this type pass on tgt.
        static let type: UInt8 = 7
        static let byteCount: UInt16 = 8 + 8 * 256

        /// The parameters of PERSISTENT RESERVE OUT: our key, the one that the action is about, and whether the target
        /// is to keep what is registered when it loses power.
        static func parameters(_ key: UInt64, _ other: UInt64, survivesPowerLoss: Bool = false) -> [UInt8] {
            var parameters = [UInt8](repeating: 0, count: 24)
            var bytes = parameters.mutableRawBytes
            bytes.storeBigEndian(key, at: 0)
            bytes.storeBigEndian(other, at: 8)
            if survivesPowerLoss { bytes.storeBigEndian(UInt8(1), at: 20) }
            return parameters
        }

        /// The answer to READ KEYS.
        struct Keys: Equatable, Sendable {
            /// Counts the changes since the target was started.
            var generation: UInt32
            var keys: [UInt64]

            init?(_ bytes: RawSpan) {
                guard bytes.byteCount >= 8 else { return nil }
                generation = bytes.loadBigEndian(UInt32.self, at: 0)
                let listed = Int(bytes.loadBigEndian(UInt32.self, at: 4)) / 8
                keys = (0..<min(listed, (bytes.byteCount - 8) / 8)).map {
                    bytes.loadBigEndian(UInt64.self, at: 8 + 8 * $0)
                }
            }
        }

        /// The answer to READ RESERVATION: whether all registrants hold what is reserved.
        static func isOfAllRegistrants(_ bytes: RawSpan) -> Bool {
            bytes.byteCount >= 22 && [7, 8].contains(bytes.loadBigEndian(UInt8.self, at: 21) & 0x0f)
        }
    }

    /// The key that an attachment registers: which initiator it is, as far as a key has room for, and a number of its
    /// own.
    struct SCSIReservationKey: Equatable, Sendable, CustomStringConvertible {
        let number: UInt64

        private static let mark: UInt64 = 0x2d
        private static let alphabet = Array("-.0123456789:abcdefghijklmnopqrstuvwxyz_".utf8)
        private static let letterCount = 7

        init(_ number: UInt64) { self.number = number }

        /// The end of the name is what tells hosts apart.
        init(initiator: String, nonce: UInt16) {
            var number = Self.mark
            let letters = Array(initiator.lowercased().utf8.suffix(Self.letterCount))
            for index in 0..<Self.letterCount {
                let letter = index < letters.count ? Self.alphabet.firstIndex(of: letters[index]) : nil
                number = number << 6 | UInt64(letter.map { $0 + 1 } ?? 0)
            }
            self.number = number << 16 | UInt64(nonce)
        }

        /// The end of the initiator's name; nil for a key of other software.
        var initiator: String? {
            guard number >> 58 == Self.mark else { return nil }
            let letters = (0..<Self.letterCount).compactMap { index -> UInt8? in
                let letter = Int(number >> (52 - 6 * index) & 0x3f)
                return letter == 0 || letter > Self.alphabet.count ? nil : Self.alphabet[letter - 1]
            }
            return String(decoding: letters, as: UTF8.self)
        }

        var description: String {
            let text = "reservation key 0x" + String(number, radix: 16)
            return initiator.map { "the initiator whose name ends in \($0) (\(text))" } ?? text
        }
    }
#endif

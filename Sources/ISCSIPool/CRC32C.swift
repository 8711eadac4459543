#if ISCSI
    import IORuntime

    /// The checksum of iSCSI's packets (RFC 7143, 13.1: CRC32C, reflected).
    enum CRC32C {
        private static let table: [UInt32] = (0..<256).map { (index: UInt32) -> UInt32 in
            var value = index
            for _ in 0..<8 { value = value & 1 == 1 ? value >> 1 ^ 0x82f6_3b78 : value >> 1 }
            return value
        }

        /// As it stands behind the bytes when it is read as a little-endian number.
        static func checksum(_ bytes: RawSpan) -> UInt32 {
            var value = UInt32.max
            for offset in 0..<bytes.byteCount {
                let byte = bytes.loadBigEndian(UInt8.self, at: offset)
                value = table[Int((value ^ UInt32(byte)) & 0xff)] ^ value >> 8
            }
            return ~value
        }
    }
#endif

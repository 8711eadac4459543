#if RBD
    import IORuntime
    import SystemPackage

    /// Reads what Ceph's object classes answer: little-endian integers, and strings that begin with their length.
    struct CephDecoder {
        private let bytes: [UInt8]
        private var position = 0

        init(_ bytes: [UInt8]) { self.bytes = bytes }

        /// Throws `EBADMSG` where the answer ends too early, as all the others do.
        mutating func integer<Integer: FixedWidthInteger>(_ type: Integer.Type) throws(SystemError) -> Integer {
            var value: Integer = 0
            for (index, byte) in try take(Integer.bitWidth / 8).enumerated() {
                value |= Integer(truncatingIfNeeded: byte) << (8 * index)
            }
            return value
        }

        mutating func string() throws(SystemError) -> String {
            String(decoding: try take(Int(try integer(UInt32.self))), as: UTF8.self)
        }

        mutating func integers<Integer: FixedWidthInteger>(_ type: Integer.Type) throws(SystemError) -> [Integer] {
            let count = Int(try integer(UInt32.self))
            guard count <= bytes.count else { throw Self.tooShort }
            var values: [Integer] = []
            for _ in 0..<count { values.append(try integer(type)) }
            return values
        }

        mutating func take(_ count: Int) throws(SystemError) -> ArraySlice<UInt8> {
            guard count >= 0, count <= bytes.count - position else { throw Self.tooShort }
            defer { position += count }
            return bytes[position..<position + count]
        }

        private static let tooShort = SystemError(.badMessage, "the cluster's answer is cut off")
    }

    extension CephDecoder {
        /// How many elements of an object map are not zero: objects that exist.
        ///
        /// A map of two bits an object, after a header of its own length and before a footer.
        static func existingObjects(inMap bytes: [UInt8]) throws(SystemError) -> UInt64 {
            var decoder = CephDecoder(bytes)
            let headerCount = Int(try decoder.integer(UInt32.self))
            var header = CephDecoder(Array(try decoder.take(headerCount)))
            // Its version, the version that can read it, and its length.
            _ = try header.take(6)
            let objects = try header.integer(UInt64.self)
            guard objects <= UInt64(bytes.count) * 4 else { throw Self.tooShort }
            var count: UInt64 = 0
            for byte in try decoder.take(Int((objects + 3) / 4)) {
                for shift in stride(from: 0, to: 8, by: 2) where byte >> shift & 3 != 0 { count += 1 }
            }
            return count
        }

        /// An integer as an argument.
        static func encode<Integer: FixedWidthInteger>(_ value: Integer) -> [UInt8] {
            (0..<Integer.bitWidth / 8).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
        }

        static func encode(_ text: String) -> [UInt8] { encode(UInt32(text.utf8.count)) + Array(text.utf8) }
    }
#endif

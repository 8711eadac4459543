import BlockStorage

/// The directory at the end of a zip file: a stream reader sees only the entries before it, which need not be the
/// same, and not what kind of file each of them is.
enum ZipDirectory {
    /// Throws unless the directory that ends `tail`, the last bytes of a zip file, names exactly one entry: a regular
    /// file called `name`.
    static func checkSingleFile(named name: [UInt8], in tail: [UInt8], of source: String) throws(StorageError) {
        func refused(_ why: String) -> StorageError {
            StorageError(.unsafeImage, "unpack zip", at: source, why: why)
        }
        let damaged = StorageError(.corrupt, "unpack zip", at: source, why: "its directory is damaged or missing")

        guard let end = endRecord(in: tail) else { throw damaged }
        let entries = tail.number(at: end + 10, byteCount: 2)
        guard entries == 1 else {
            throw refused(
                "it must hold exactly one file, its directory names \(entries == 0xffff ? "many" : "\(entries)")")
        }
        // The entry ends where the end record begins, or the records that the 64-bit form puts in between.
        let size = tail.number(at: end + 12, byteCount: 4)
        var directoryEnd = end
        if end >= 20, tail.number(at: end - 20, byteCount: 4) == 0x0706_4b50 {
            guard end >= 76, tail.number(at: end - 76, byteCount: 4) == 0x0606_4b50 else { throw damaged }
            directoryEnd = end - 76
        }
        guard size >= 46, size <= UInt64(directoryEnd) else { throw damaged }
        let entry = directoryEnd - Int(size)
        guard tail.number(at: entry, byteCount: 4) == 0x0201_4b50 else { throw damaged }
        let nameLength = Int(tail.number(at: entry + 28, byteCount: 2))
        let extraLength = Int(tail.number(at: entry + 30, byteCount: 2))
        let commentLength = Int(tail.number(at: entry + 32, byteCount: 2))
        guard 46 + nameLength + extraLength + commentLength == Int(size) else { throw damaged }
        guard Array(tail[entry + 46..<entry + 46 + nameLength]) == name else {
            throw refused("its directory and the entry itself give different names")
        }
        let isUnix = tail[entry + 5] == 3
        let attributes = tail.number(at: entry + 38, byteCount: 4)
        let fileType = (attributes >> 16) & 0o170000
        guard attributes & 0x10 == 0, !isUnix || fileType == 0 || fileType == 0o100000 else {
            throw refused("its entry is not a regular file")
        }
    }

    /// Where the record begins that ends the file; its comment must reach to the last byte.
    private static func endRecord(in tail: [UInt8]) -> Int? {
        var start = tail.count - 22
        while start >= 0, tail.count - start <= 22 + 0xffff {
            if tail.number(at: start, byteCount: 4) == 0x0605_4b50,
                start + 22 + Int(tail.number(at: start + 20, byteCount: 2)) == tail.count
            {
                return start
            }
            start -= 1
        }
        return nil
    }
}

extension [UInt8] {
    /// The little-endian number of `byteCount` bytes at `offset`, which must lie inside.
    fileprivate func number(at offset: Int, byteCount: Int) -> UInt64 {
        (0..<byteCount).reduce(0) { $0 | UInt64(self[offset + $1]) << (8 * UInt64($1)) }
    }
}

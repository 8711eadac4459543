import BlockStorage
import CCrypto
import IORuntime

/// Adds bytes up to a checksum, through libcrypto.
///
/// Not safe for concurrent calls: whoever owns it makes one at a time.
@safe
final class Digester: @unchecked Sendable {
    let algorithm: Checksum.Algorithm
    // Sound: owned by this object alone, from `init` to `deinit`.
    private let context: OpaquePointer

    /// Throws `notSupported` where the system's libcrypto refuses the algorithm.
    init(_ algorithm: Checksum.Algorithm) throws(StorageError) {
        self.algorithm = algorithm
        let method =
            switch algorithm {
            case .md5: unsafe EVP_md5()
            case .sha1: unsafe EVP_sha1()
            case .sha224: unsafe EVP_sha224()
            case .sha256: unsafe EVP_sha256()
            case .sha384: unsafe EVP_sha384()
            case .sha512: unsafe EVP_sha512()
            }
        guard let context = unsafe EVP_MD_CTX_new() else {
            throw StorageError(.internalError, "checksum", why: "out of memory")
        }
        unsafe self.context = context
        guard unsafe EVP_DigestInit_ex(context, method, nil) == 1 else {
            throw StorageError(.notSupported, "checksum", at: algorithm.rawValue, why: "libcrypto refuses it here")
        }
    }

    deinit { unsafe EVP_MD_CTX_free(context) }

    func add(_ bytes: RawSpan) throws(StorageError) {
        // Sound: libcrypto reads exactly the bytes of the span during the call.
        let result = unsafe bytes.withUnsafeBytes { unsafe EVP_DigestUpdate(context, $0.baseAddress, $0.count) }
        guard result == 1 else { throw StorageError(.internalError, "checksum", why: "libcrypto failed") }
    }

    /// The checksum of the bytes that were added so far; more can follow.
    func soFar() throws(StorageError) -> Checksum {
        let copy = try Digester(algorithm)
        guard unsafe EVP_MD_CTX_copy_ex(copy.context, context) == 1 else {
            throw StorageError(.internalError, "checksum", why: "libcrypto failed")
        }
        return try copy.finish()
    }

    /// The checksum of all bytes added; nothing can be added afterwards.
    func finish() throws(StorageError) -> Checksum {
        var bytes = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
        var count: UInt32 = 0
        // Sound: the array has room for the longest digest that there is.
        guard unsafe EVP_DigestFinal_ex(context, &bytes, &count) == 1, Int(count) == algorithm.byteCount else {
            throw StorageError(.internalError, "checksum", why: "libcrypto failed")
        }
        return Checksum(algorithm, Array(bytes.prefix(algorithm.byteCount)))
    }
}

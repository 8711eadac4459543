import Glibc
import SystemPackage

extension File {
    /// Gives this file, which is open for writing, the contents of another of the same file system, whose blocks it
    /// shares until either is written. All of it is as of one moment. The corresponding C constant is `FICLONE`.
    ///
    /// Throws `EOPNOTSUPP`, `EXDEV` or `EINVAL`, and sometimes `ENOTTY`, where the file system cannot do that.
    public func shareBlocks(of other: File) async throws(SystemError) {
        try await blocking.call("ioctl", path.string) { [self] () throws(SystemError) in
            guard ioctl(descriptor.rawValue, Self.clone, other.descriptor.rawValue) == 0 else {
                throw SystemError(Errno(rawValue: errno), "ioctl")
            }
        }
    }

    /// `_IOW(0x94, 9, int)`, which the importer does not see.
    private static let clone: UInt = 0x4004_9409
}

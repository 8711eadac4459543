import Glibc
import SystemPackage

extension Socket {
    /// The process that listens at the other end of a connection by path; nil for other connections.
    package var peerProcess: Int32? {
        // The corresponding C type is `struct ucred`: process, user, group.
        var credentials: (process: Int32, user: UInt32, group: UInt32) = (0, 0, 0)
        var length = socklen_t(12)
        // Sound: the kernel writes no more than the length says, and any bytes are valid numbers.
        let result = unsafe getsockopt(descriptor.rawValue, SOL_SOCKET, SO_PEERCRED, &credentials, &length)
        return result == 0 && credentials.process > 0 ? credentials.process : nil
    }
}

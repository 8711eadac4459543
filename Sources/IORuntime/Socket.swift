import CURing
import Glibc
import SystemPackage

/// A stream socket: listening, or connected.
///
/// One task at a time may receive and one may send; both at once are fine. `shutDown` ends what others wait for.
public final class Socket: Sendable {
    /// Where a socket listens or connects to.
    public enum Address: Equatable, Sendable, CustomStringConvertible {
        case unix(path: String)
        /// A name or an address, and a port; port 0 lets the system choose one to listen on.
        case tcp(host: String, port: UInt16)

        public var description: String {
            switch self {
            case .unix(let path): "unix:\(path)"
            case .tcp(let host, let port): host.contains(":") ? "tcp:[\(host)]:\(port)" : "tcp:\(host):\(port)"
            }
        }
    }

    public let descriptor: FileDescriptor
    private let isClosed = Locked(false)

    /// Takes over a stream socket's descriptor.
    public init(owning descriptor: FileDescriptor) { self.descriptor = descriptor }

    deinit { close() }

    /// Closes the descriptor, once. Nothing may be in flight: end it with `shutDown` and wait for it first.
    public func close() {
        isClosed.withLock { isClosed in
            if !isClosed { _ = Glibc.close(descriptor.rawValue) }
            isClosed = true
        }
    }

    /// Ends both directions: a waiting `receive` returns 0, `send` fails, `accept` fails. From any task, also after
    /// `close`, where it does nothing.
    public func shutDown() { shutDown(Int32(SHUT_RDWR)) }

    /// Ends the receiving direction: `receive` returns 0 once what has arrived is taken; sending goes on. From any task.
    public func shutDownReceiving() { shutDown(Int32(SHUT_RD)) }

    /// Ends the sending direction: the peer receives what was sent, and then the end.
    public func shutDownSending() { shutDown(Int32(SHUT_WR)) }

    private func shutDown(_ how: Int32) {
        // The lock keeps the number from being closed, and given to another file, in between.
        isClosed.withLock { isClosed in
            if !isClosed { _ = Glibc.shutdown(descriptor.rawValue, how) }
        }
    }

    /// Two connected sockets.
    public static func pair() throws(SystemError) -> (Socket, Socket) {
        var descriptors: [Int32] = [-1, -1]
        let result = unsafe socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0, &descriptors)
        guard result == 0 else { throw SystemError(Errno(rawValue: errno), "socketpair") }
        return (
            Socket(owning: FileDescriptor(rawValue: descriptors[0])),
            Socket(owning: FileDescriptor(rawValue: descriptors[1]))
        )
    }

    /// Listens. A Unix socket's file has `mode` before anyone can connect; a file that is in the way throws
    /// `EADDRINUSE`, whether anyone listens there or not.
    public static func listen(
        _ address: Address, mode: UInt32 = 0o600, backlog: Int32 = 128
    ) async throws(SystemError) -> Socket {
        switch address {
        case .unix(let path):
            let (socket, storage, length) = try unixSocket(path)
            unsafe try storage.withAddress(length) { address, length throws(SystemError) in
                try check(unsafe bind(socket.descriptor.rawValue, address, length), "bind")
            }
            // Nobody can connect before `listen`, so the file's mode is right in time.
            do throws(SystemError) {
                try check(unsafe chmod(path, mode_t(mode)), "chmod")
                try check(Glibc.listen(socket.descriptor.rawValue, backlog), "listen")
            } catch {
                _ = unsafe unlink(path)
                throw error
            }
            return socket
        case .tcp(let host, let port):
            var failure = SystemError(.addressNotAvailable, "getaddrinfo")
            for candidate in try await resolve(host, port, isPassive: true) {
                do throws(SystemError) {
                    let socket = try candidate.makeSocket()
                    try set(socket, SOL_SOCKET, SO_REUSEADDR, 1)
                    unsafe try candidate.address.withAddress(candidate.length) { address, length throws(SystemError) in
                        try check(unsafe bind(socket.descriptor.rawValue, address, length), "bind")
                    }
                    try check(Glibc.listen(socket.descriptor.rawValue, backlog), "listen")
                    return socket
                } catch {
                    failure = error
                }
            }
            throw failure
        }
    }

    /// Connects; tries each address of a name in turn. A TCP connection comes from `source`, an address of this host in
    /// numbers, or from the one that the routes say.
    public static func connect(to address: Address, from source: String? = nil) async throws(SystemError) -> Socket {
        switch address {
        case .unix(let path):
            let (socket, storage, length) = try unixSocket(path)
            try await socket.connect(storage, length)
            return socket
        case .tcp(let host, let port):
            var failure = SystemError(.addressNotAvailable, "getaddrinfo")
            for candidate in try await resolve(host, port, isPassive: false) {
                do throws(SystemError) {
                    let socket = try candidate.makeSocket()
                    if let source { try socket.take(source: source) }
                    try await socket.connect(candidate.address, candidate.length)
                    try? set(socket, Int32(IPPROTO_TCP), TCP_NODELAY, 1)
                    return socket
                } catch {
                    failure = error
                }
            }
            throw failure
        }
    }

    private func take(source: String) throws(SystemError) {
        guard let candidate = Self.numeric(source, 0, isPassive: false).first else {
            throw SystemError(.addressNotAvailable, "bind")
        }
        unsafe try candidate.address.withAddress(candidate.length) { address, length throws(SystemError) in
            try Self.check(unsafe bind(descriptor.rawValue, address, length), "bind")
        }
    }

    private func connect(_ address: AddressStorage, _ length: socklen_t) async throws(SystemError) {
        let request = unsafe IORequest(.connect, descriptor.rawValue, address.memory, count: Int(length))
        let result = await IOExecutor.perform(request)
        _ = try withExtendedLifetime(address) { () throws(SystemError) in try result.checked("connect") }
    }

    /// Waits for a connection. Throws `EINVAL` after `shutDown`.
    public func accept() async throws(SystemError) -> Socket {
        let accepted = try await IOExecutor.perform(unsafe IORequest(.accept, descriptor.rawValue)).checked("accept")
        let socket = Socket(owning: FileDescriptor(rawValue: Int32(accepted)))
        try? Self.set(socket, Int32(IPPROTO_TCP), TCP_NODELAY, 1)
        // A peer whose host died is noticed some day, rather than kept for ever.
        try? Self.set(socket, SOL_SOCKET, SO_KEEPALIVE, 1)
        return socket
    }

    /// Receives what there is, at least one byte; 0 means that the peer has ended its direction.
    public func receive(into buffer: inout MutableRawSpan) async throws(SystemError) -> Int {
        let memory = unsafe buffer.pinned
        return try await IOExecutor.perform(
            unsafe IORequest(.receive, descriptor.rawValue, memory.baseAddress, count: memory.count)
        ).checked("recv")
    }

    /// Receives what comes to memory that stays in place until `handler` is called, on this thread, which is an
    /// executor's; `shutDown` ends the wait.
    package func receive(into memory: UnsafeMutableRawBufferPointer, then handler: any IOCompletionHandler) {
        IOExecutor.start(
            unsafe IORequest(.receiveLater, descriptor.rawValue, memory.baseAddress, count: memory.count), handler)
    }

    /// Fills `buffer`; throws `ECONNRESET` when the peer ends first.
    public func receiveAll(into buffer: inout MutableRawSpan) async throws(SystemError) {
        let memory = unsafe buffer.pinned
        // The kernel would wait until something arrives.
        if unsafe memory.isEmpty { return }
        let result = try await IOExecutor.perform(
            unsafe IORequest(
                .receive, descriptor.rawValue, memory.baseAddress, count: memory.count,
                flags: Int32(MSG_WAITALL))
        ).checked("recv")
        var done = result
        while done < memory.count {
            if done == 0 { throw SystemError(.connectionReset, "recv") }
            var rest = unsafe MutableRawSpan(_unsafeBytes: UnsafeMutableRawBufferPointer(rebasing: memory[done...]))
            let more = try await receive(into: &rest)
            if more == 0 { throw SystemError(.connectionReset, "recv") }
            done += more
        }
    }

    /// Sends all of `bytes`. A peer that is gone throws `EPIPE`; no signal is raised.
    public func send(_ bytes: RawSpan) async throws(SystemError) {
        let memory = unsafe bytes.pinned
        _ = try await IOExecutor.perform(
            unsafe IORequest(
                .send, descriptor.rawValue, memory.baseAddress, count: memory.count,
                flags: Int32(MSG_NOSIGNAL))
        ).checked("send")
    }

    /// The address that a TCP socket is bound to, with the port that the system chose.
    public var localPort: UInt16? {
        let storage = AddressStorage()
        var length = socklen_t(AddressStorage.byteCount)
        let result = unsafe getsockname(
            descriptor.rawValue, storage.memory.assumingMemoryBound(to: sockaddr.self), &length)
        guard result == 0 else { return nil }
        let family = unsafe Int32(storage.memory.load(as: sa_family_t.self))
        guard family == AF_INET || family == AF_INET6 else { return nil }
        // The port stands at the same place, in network order, in both families.
        return unsafe UInt16(bigEndian: storage.memory.load(fromByteOffset: 2, as: UInt16.self))
    }

    private static func unixSocket(_ path: String) throws(SystemError) -> (Socket, AddressStorage, socklen_t) {
        let storage = AddressStorage()
        let bytes = Array(path.utf8)
        let start = MemoryLayout<sockaddr_un>.offset(of: \.sun_path) ?? 2
        guard !bytes.isEmpty, !bytes.contains(0), bytes.count < MemoryLayout<sockaddr_un>.size - start else {
            throw SystemError(.fileNameTooLong, "bind")
        }
        unsafe storage.memory.storeBytes(of: sa_family_t(AF_UNIX), as: sa_family_t.self)
        for (index, byte) in bytes.enumerated() {
            unsafe storage.memory.storeBytes(of: byte, toByteOffset: start + index, as: UInt8.self)
        }
        return (try makeSocket(AF_UNIX), storage, socklen_t(start + bytes.count + 1))
    }

    fileprivate static func makeSocket(_ family: Int32) throws(SystemError) -> Socket {
        let descriptor = Glibc.socket(family, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw SystemError(Errno(rawValue: errno), "socket") }
        return Socket(owning: FileDescriptor(rawValue: descriptor))
    }

    private static func set(_ socket: Socket, _ level: Int32, _ option: Int32, _ value: Int32) throws(SystemError) {
        var value = value
        try check(
            unsafe setsockopt(
                socket.descriptor.rawValue, level, option, &value, socklen_t(MemoryLayout<Int32>.size)),
            "setsockopt")
    }

    private static func check(_ result: Int32, _ call: String) throws(SystemError) {
        if result < 0 { throw SystemError(Errno(rawValue: errno), call) }
    }

    /// An address that `getaddrinfo` found.
    private struct Candidate: Sendable {
        var family: Int32
        var address: AddressStorage
        var length: socklen_t

        func makeSocket() throws(SystemError) -> Socket { try Socket.makeSocket(family) }
    }

    private static func resolve(
        _ host: String, _ port: UInt16, isPassive: Bool
    ) async throws(SystemError) -> [Candidate] {
        // What is no name needs nobody to be asked.
        let candidates = numeric(host, port, isPassive: isPassive)
        if !candidates.isEmpty { return candidates }
        return try await BlockingPool.shared.run { () throws(SystemError) in
            let candidates = lookUp(host, port, flags: isPassive ? AI_PASSIVE : 0)
            if candidates.isEmpty { throw SystemError(.addressNotAvailable, "getaddrinfo") }
            return candidates
        }
    }

    private static func numeric(_ host: String, _ port: UInt16, isPassive: Bool) -> [Candidate] {
        lookUp(host, port, flags: AI_NUMERICHOST | (isPassive ? AI_PASSIVE : 0))
    }

    private static func lookUp(_ host: String, _ port: UInt16, flags: Int32) -> [Candidate] {
        var hints = unsafe addrinfo()
        unsafe hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        unsafe hints.ai_flags = AI_NUMERICSERV | flags
        var list: UnsafeMutablePointer<addrinfo>?
        guard unsafe getaddrinfo(host, String(port), &hints, &list) == 0 else { return [] }
        defer { unsafe freeaddrinfo(list) }
        var candidates: [Candidate] = []
        var next = unsafe list
        while let entry = unsafe next {
            if let address = unsafe entry.pointee.ai_addr, unsafe entry.pointee.ai_addrlen <= AddressStorage.byteCount {
                let storage = AddressStorage()
                unsafe storage.memory.copyMemory(from: address, byteCount: Int(entry.pointee.ai_addrlen))
                unsafe candidates.append(
                    Candidate(family: entry.pointee.ai_family, address: storage, length: entry.pointee.ai_addrlen))
            }
            unsafe next = entry.pointee.ai_next
        }
        return candidates
    }
}

/// A socket address of any family at a fixed address.
@safe
private final class AddressStorage: @unchecked Sendable {
    // Sound: written before it is shared, freed with its last user.
    static let byteCount = 256
    let memory: UnsafeMutableRawPointer

    init() {
        unsafe memory = .allocate(byteCount: Self.byteCount, alignment: 8)
        unsafe memory.initializeMemory(as: UInt8.self, repeating: 0, count: Self.byteCount)
    }

    deinit { unsafe memory.deallocate() }

    func withAddress<Failure: Error>(
        _ length: socklen_t, _ body: (UnsafePointer<sockaddr>, socklen_t) throws(Failure) -> Void
    ) throws(Failure) {
        unsafe try body(UnsafePointer(memory.assumingMemoryBound(to: sockaddr.self)), length)
    }
}

import CURing
import Glibc

/// Requests by ordinary system calls: files on worker threads, sockets and timers by `poll` on the executor's thread.
@safe
final class ThreadPoolEngine: IOEngine {
    static let name = "threads"

    /// Shared by the engines of all executors, for backends without threads of their own.
    private static let workers = BlockingPool(threads: 32)

    private struct Waiting {
        var request: IORequest
        var token: UInt64
    }

    private final class Finished: Sendable {
        /// A worker may be late to say that it has finished.
        let descriptor = eventfd(0, Int32(EFD_CLOEXEC | EFD_NONBLOCK))
        let completions = Locked<[IOCompletion]>([])
        /// Tokens of requests that are not to begin any more.
        let cancelled = Locked<Set<UInt64>>([])

        deinit { _ = close(descriptor) }

        func signal() {
            var one: UInt64 = 1
            _ = unsafe Glibc.write(descriptor, &one, 8)
        }
    }

    private let finished = Finished()
    private var waiting: [Waiting] = []
    private var ready: [IOCompletion] = []
    private var polled: [pollfd] = []

    func submit(_ request: IORequest, token: UInt64) {
        switch request.operation {
        case .read, .write, .readVector, .writeVector, .sync, .dataSync, .allocate:
            let workers = unsafe request.workers?.takeUnretainedValue() ?? Self.workers
            workers.enqueue { [finished] in
                let isCancelled = finished.cancelled.withLock { $0.contains(token) }
                let completion = IOCompletion(
                    token: token, result: isCancelled ? -Int(ECANCELED) : Self.perform(request))
                finished.completions.withLock { $0.append(completion) }
                finished.signal()
            }
        case .connect:
            start(request, token)
        default:
            waiting.append(Waiting(request: request, token: token))
        }
    }

    /// What waits for readiness ends at once, and what waits for a worker when it gets one. A system call that a worker
    /// has begun cannot be ended: it completes.
    func cancel(token: UInt64) {
        guard let index = waiting.firstIndex(where: { $0.token == token }) else {
            finished.cancelled.withLock { _ = $0.insert(token) }
            return
        }
        waiting.remove(at: index)
        ready.append(IOCompletion(token: token, result: -Int(ECANCELED)))
    }

    func wait(blocking: Bool, until limit: Duration?, into completions: inout [IOCompletion]) {
        polled.removeAll(keepingCapacity: true)
        polled.append(pollfd(fd: finished.descriptor, events: Int16(POLLIN), revents: 0))
        var timeout: Int32 = blocking && ready.isEmpty ? -1 : 0
        if let limit, timeout != 0 { timeout = Int32(clamping: limit.components.attoseconds / 1_000_000_000_000_000) }
        for entry in waiting {
            if entry.request.operation == .timeout {
                polled.append(pollfd(fd: -1, events: 0, revents: 0))
                if timeout != 0 {
                    let left = unsafe Self.millisecondsUntil(unsafe entry.request.memory)
                    timeout = timeout < 0 ? left : min(timeout, left)
                }
            } else {
                polled.append(
                    pollfd(fd: entry.request.descriptor, events: Self.events(of: entry.request), revents: 0))
            }
        }
        let count = polled.count
        _ = unsafe polled.withUnsafeMutableBufferPointer { unsafe poll($0.baseAddress, nfds_t(count), timeout) }
        if polled[0].revents != 0 {
            var value: UInt64 = 0
            _ = unsafe Glibc.read(finished.descriptor, &value, 8)
        }
        finish()
        completions.append(contentsOf: ready)
        ready.removeAll(keepingCapacity: true)
        finished.completions.withLock { done in
            completions.append(contentsOf: done)
            finished.cancelled.withLock { cancelled in
                if cancelled.isEmpty { return }
                for completion in done { cancelled.remove(completion.token) }
            }
            done.removeAll(keepingCapacity: true)
        }
    }

    func wake() { finished.signal() }

    func shutDown() {}

    /// Performs what `poll` found ready.
    private func finish() {
        var still: [Waiting] = []
        for (index, entry) in waiting.enumerated() {
            let revents = polled[index + 1].revents
            if entry.request.operation == .timeout {
                if unsafe Self.millisecondsUntil(unsafe entry.request.memory) > 0 {
                    still.append(entry)
                } else {
                    ready.append(IOCompletion(token: entry.token, result: -Int(ETIME)))
                }
            } else if revents == 0 {
                still.append(entry)
            } else if entry.request.operation == .poll {
                ready.append(IOCompletion(token: entry.token, result: Int(revents)))
            } else {
                let result = Self.perform(entry.request)
                if result == -Int(EAGAIN) {
                    still.append(entry)
                } else {
                    ready.append(IOCompletion(token: entry.token, result: result))
                }
            }
        }
        waiting = still
    }

    /// Begins a connection without blocking; its outcome is known when the socket becomes writable.
    private func start(_ request: IORequest, _ token: UInt64) {
        let flags = fcntl(request.descriptor, F_GETFL)
        _ = fcntl(request.descriptor, F_SETFL, flags | O_NONBLOCK)
        let result = unsafe Self.result(
            Glibc.connect(
                request.descriptor, unsafe request.memory?.assumingMemoryBound(to: sockaddr.self),
                socklen_t(request.count)))
        if result == -Int(EINPROGRESS) {
            waiting.append(Waiting(request: request, token: token))
        } else {
            _ = fcntl(request.descriptor, F_SETFL, flags)
            ready.append(IOCompletion(token: token, result: result))
        }
    }

    private static func events(of request: IORequest) -> Int16 {
        switch request.operation {
        case .poll: Int16(truncatingIfNeeded: request.flags)
        case .send, .sendVector, .connect: Int16(POLLOUT)
        default: Int16(POLLIN)
        }
    }

    /// Makes the system call that stands for a request; sockets without blocking.
    private static func perform(_ request: IORequest) -> Int {
        let descriptor = request.descriptor
        let memory = unsafe request.memory
        let count = min(request.count, 1 << 30)
        switch request.operation {
        case .read: return unsafe result(pread(descriptor, memory, count, off_t(request.offset)))
        case .write: return unsafe result(pwrite(descriptor, memory, count, off_t(request.offset)))
        case .readVector:
            return unsafe result(
                preadv(descriptor, memory?.assumingMemoryBound(to: iovec.self), Int32(count), off_t(request.offset)))
        case .writeVector:
            return unsafe result(
                pwritev(descriptor, memory?.assumingMemoryBound(to: iovec.self), Int32(count), off_t(request.offset)))
        case .sync: return result(Int(fsync(descriptor)))
        case .dataSync: return result(Int(fdatasync(descriptor)))
        case .allocate:
            return result(
                Int(fallocate(descriptor, request.flags, off_t(request.offset), off_t(request.count))))
        case .receive, .receiveLater:
            return unsafe result(recv(descriptor, memory, count, request.flags | Int32(MSG_DONTWAIT)))
        case .send:
            return unsafe result(Glibc.send(descriptor, memory, count, request.flags | Int32(MSG_DONTWAIT)))
        case .sendVector:
            return unsafe result(
                sendmsg(
                    descriptor, memory?.assumingMemoryBound(to: msghdr.self),
                    request.flags | Int32(MSG_DONTWAIT)))
        case .accept:
            let flags = fcntl(descriptor, F_GETFL)
            if flags & O_NONBLOCK == 0 { _ = fcntl(descriptor, F_SETFL, flags | O_NONBLOCK) }
            return unsafe result(Int(accept4(descriptor, __SOCKADDR_ARG(), nil, Int32(SOCK_CLOEXEC.rawValue))))
        case .connect:
            var error: Int32 = 0
            var length = socklen_t(MemoryLayout<Int32>.size)
            _ = unsafe getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &error, &length)
            _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) & ~O_NONBLOCK)
            return -Int(error)
        case .poll, .timeout: return -Int(EINVAL)
        }
    }

    private static func result(_ value: Int) -> Int { value < 0 ? -Int(errno) : value }

    private static func result(_ value: Int32) -> Int { result(Int(value)) }

    /// Rounded up, so that a timer never fires early.
    private static func millisecondsUntil(_ memory: UnsafeMutableRawPointer?) -> Int32 {
        guard let time = unsafe memory?.assumingMemoryBound(to: __kernel_timespec.self) else { return 0 }
        var now = timespec()
        unsafe clock_gettime(CLOCK_MONOTONIC, &now)
        let seconds = unsafe Int64(time.pointee.tv_sec) &- Int64(now.tv_sec)
        let nanoseconds =
            unsafe seconds.multipliedReportingOverflow(by: 1_000_000_000).partialValue
            &+ Int64(time.pointee.tv_nsec) &- Int64(now.tv_nsec)
        if seconds > 2_000_000 { return Int32.max }
        return nanoseconds <= 0 ? 0 : Int32(clamping: (nanoseconds + 999_999) / 1_000_000)
    }
}

import CURing
import Glibc

/// Requests by io_uring: one system call hands over a batch and collects what completed.
@safe
final class RingEngine: IOEngine {
    static let name = "io_uring"

    /// Entries of the submission queue; more are handed over in several system calls.
    private static let queueEntries: UInt32 = 1024
    private static let completionEntries: UInt32 = 8192
    private static let blockingCalls: UInt32 = 1024
    /// File transfers are handed over in groups of so many: a disk works on one while the next is prepared. Handed over
    /// all at once at the end of a round, they make it work and idle in turn: a fifth less at depth 32.
    private static let transfersPerSubmission = 4
    private static let wakeToken = UInt64.max
    private static let cancelToken = UInt64.max - 1

    // Sound: the ring and the wake value live at fixed addresses from `init` to `shutDown`; until then only the executor's
    // thread touches the ring.
    private let ring: UnsafeMutablePointer<io_uring>
    private let wakeValue: UnsafeMutablePointer<UInt64>
    private let wakeDescriptor: Int32
    /// File transfers in the submission queue.
    private var heldTransfers = 0
    /// Requests for which the submission queue had no room.
    @safe @exclusivity(unchecked) private var overflow: [(request: IORequest, token: UInt64)] = []
    /// Cancellations for which it had none.
    @safe @exclusivity(unchecked) private var overflowCancellations: [UInt64] = []
    @safe @exclusivity(unchecked) private var cancelledInOverflow: [IOCompletion] = []

    /// Whether a socket may be polled before the first attempt (Linux 5.19).
    private let hasPollFirst: Bool

    /// Nil where the kernel has no io_uring or refuses it.
    init?() {
        unsafe ring = .allocate(capacity: 1)
        unsafe wakeValue = .allocate(capacity: 1)
        wakeDescriptor = eventfd(0, Int32(EFD_CLOEXEC))
        let mode = wakeDescriptor >= 0 ? unsafe Self.initialise(ring) : nil
        hasPollFirst = mode != 0
        guard mode != nil else {
            if wakeDescriptor >= 0 { _ = close(wakeDescriptor) }
            unsafe ring.deallocate()
            unsafe wakeValue.deallocate()
            return nil
        }
        armWake()
    }

    /// The mode that the ring is in; nil where there is none.
    private static func initialise(_ ring: UnsafeMutablePointer<io_uring>) -> UInt32? {
        // The fastest mode first: the kernel posts completions only when this thread asks (Linux 6.1). Then without an
        // interrupt for each completion (5.19), then plain.
        let modes: [UInt32] = [
            1 << 12 | 1 << 13 | 1 << 7,  // IORING_SETUP_SINGLE_ISSUER, IORING_SETUP_DEFER_TASKRUN, IORING_SETUP_SUBMIT_ALL
            1 << 8 | 1 << 7,  // IORING_SETUP_COOP_TASKRUN, IORING_SETUP_SUBMIT_ALL
            0,
        ]
        for mode in modes {
            var parameters = io_uring_params()
            parameters.flags = mode | 1 << 3  // IORING_SETUP_CQSIZE
            parameters.cq_entries = completionEntries
            if unsafe io_uring_queue_init_params(queueEntries, ring, &parameters) == 0 {
                // Without NODROP (before 5.5) a full completion queue would lose completions.
                if parameters.features & (1 << 1) != 0 {
                    // Calls that block run on threads of the kernel. The default is four a core, which one mount that
                    // hangs would take from all others. Kernels before 5.15 have no such limit to set.
                    var limits: (UInt32, UInt32) = (blockingCalls, blockingCalls)
                    unsafe withUnsafeMutableBytes(of: &limits) { limits in
                        _ = unsafe io_uring_register_iowq_max_workers(
                            ring, limits.baseAddress?.assumingMemoryBound(to: UInt32.self))
                    }
                    return mode
                }
                unsafe io_uring_queue_exit(ring)
                return nil
            }
        }
        return nil
    }

    func submit(_ request: IORequest, token: UInt64) {
        guard overflow.isEmpty, let entry = unsafe nextEntry() else {
            overflow.append((request, token))
            return
        }
        unsafe prepare(entry, request)
        unsafe entry.pointee.user_data = token
        guard request.operation.isFileTransfer else { return }
        heldTransfers += 1
        if heldTransfers == Self.transfersPerSubmission {
            heldTransfers = 0
            _ = unsafe io_uring_submit(ring)
        }
    }

    func cancel(token: UInt64) {
        if let index = overflow.firstIndex(where: { $0.token == token }) {
            overflow.remove(at: index)
            cancelledInOverflow.append(IOCompletion(token: token, result: -Int(ECANCELED)))
        } else if let entry = unsafe nextEntry() {
            unsafe io_uring_prep_cancel64(entry, token, 0)
            unsafe entry.pointee.user_data = Self.cancelToken
        } else {
            overflowCancellations.append(token)
        }
    }

    func wait(blocking: Bool, until limit: Duration?, into completions: inout [IOCompletion]) {
        heldTransfers = 0
        while !overflow.isEmpty, let entry = unsafe nextEntry() {
            let (request, token) = overflow.removeFirst()
            unsafe prepare(entry, request)
            unsafe entry.pointee.user_data = token
        }
        while let token = overflowCancellations.popLast() {
            let before = overflowCancellations.count
            cancel(token: token)
            if overflowCancellations.count > before { break }
        }
        completions.append(contentsOf: cancelledInOverflow)
        cancelledInOverflow.removeAll(keepingCapacity: true)
        if blocking && overflow.isEmpty && overflowCancellations.isEmpty && completions.isEmpty {
            if let limit {
                var time = __kernel_timespec()
                time.tv_sec = limit.components.seconds
                time.tv_nsec = limit.components.attoseconds / 1_000_000_000
                var entry: UnsafeMutablePointer<io_uring_cqe>?
                _ = unsafe io_uring_submit_and_wait_timeout(ring, &entry, 1, &time, nil)
            } else {
                _ = unsafe io_uring_submit_and_wait(ring, 1)
            }
        } else {
            _ = unsafe io_uring_submit_and_get_events(ring)
        }
        var entry: UnsafeMutablePointer<io_uring_cqe>?
        while unsafe io_uring_peek_cqe(ring, &entry) == 0, let completed = unsafe entry {
            let token = unsafe completed.pointee.user_data
            let result = unsafe completed.pointee.res
            unsafe io_uring_cqe_seen(ring, completed)
            switch token {
            case Self.wakeToken: armWake()
            case Self.cancelToken: break
            default: completions.append(IOCompletion(token: token, result: Int(result)))
            }
        }
    }

    func wake() {
        var one: UInt64 = 1
        _ = unsafe write(wakeDescriptor, &one, 8)
    }

    func shutDown() {
        unsafe io_uring_queue_exit(ring)
        _ = close(wakeDescriptor)
        unsafe ring.deallocate()
        unsafe wakeValue.deallocate()
    }

    private func armWake() {
        submit(
            unsafe IORequest(.read, wakeDescriptor, UnsafeMutableRawPointer(wakeValue), count: 8),
            token: Self.wakeToken)
    }

    /// The next free entry; hands the full queue to the kernel first where there is none. Nil where the kernel takes no
    /// more until completions are collected.
    private func nextEntry() -> UnsafeMutablePointer<io_uring_sqe>? {
        if let entry = unsafe io_uring_get_sqe(ring) { return unsafe entry }
        _ = unsafe io_uring_submit(ring)
        return unsafe io_uring_get_sqe(ring)
    }

    private func prepare(_ entry: UnsafeMutablePointer<io_uring_sqe>, _ request: IORequest) {
        let descriptor = request.descriptor
        // The kernel takes 32-bit lengths; a longer transfer continues as a short one does.
        let count = UInt32(min(request.count, 1 << 30))
        switch request.operation {
        case .read: unsafe io_uring_prep_read(entry, descriptor, request.memory, count, request.offset)
        case .write: unsafe io_uring_prep_write(entry, descriptor, request.memory, count, request.offset)
        case .readVector:
            unsafe io_uring_prep_readv(
                entry, descriptor, request.memory?.assumingMemoryBound(to: iovec.self), count, request.offset)
        case .writeVector:
            unsafe io_uring_prep_writev(
                entry, descriptor, request.memory?.assumingMemoryBound(to: iovec.self), count, request.offset)
        case .sync: unsafe io_uring_prep_fsync(entry, descriptor, 0)
        case .dataSync: unsafe io_uring_prep_fsync(entry, descriptor, 1)  // IORING_FSYNC_DATASYNC
        case .allocate:
            unsafe io_uring_prep_fallocate(
                entry, descriptor, request.flags, off_t(request.offset), off_t(request.count))
        case .receive: unsafe io_uring_prep_recv(entry, descriptor, request.memory, Int(count), request.flags)
        case .receiveLater:
            unsafe io_uring_prep_recv(entry, descriptor, request.memory, Int(count), request.flags)
            // IORING_RECVSEND_POLL_FIRST: one attempt less that fails.
            unsafe entry.pointee.ioprio |= hasPollFirst ? 1 : 0
        case .send: unsafe io_uring_prep_send(entry, descriptor, request.memory, Int(count), request.flags)
        case .sendVector:
            unsafe io_uring_prep_sendmsg(
                entry, descriptor, request.memory?.assumingMemoryBound(to: msghdr.self), UInt32(request.flags))
        case .accept: unsafe io_uring_prep_accept(entry, descriptor, nil, nil, Int32(SOCK_CLOEXEC.rawValue))
        case .connect:
            unsafe io_uring_prep_connect(
                entry, descriptor, request.memory?.assumingMemoryBound(to: sockaddr.self), socklen_t(request.count))
        case .poll: unsafe io_uring_prep_poll_add(entry, descriptor, UInt32(request.flags))
        case .timeout:
            // An absolute time on the monotonic clock; `ETIME` is its success.
            unsafe io_uring_prep_timeout(
                entry, request.memory?.assumingMemoryBound(to: __kernel_timespec.self), 0, 1)
        }
    }
}

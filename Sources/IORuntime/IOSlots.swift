import CURing
import Glibc

/// The requests in flight on one executor: who waits for each, and what is left of it after a short transfer.
///
/// Slots are reused without allocation and grow to the largest number ever in flight. A token is a slot's index with a
/// generation, so that a late cancellation cannot reach the next request in the same slot.
///
/// A request with a deadline works on memory of its slot's own, so that who waits can be told that it is late while the
/// kernel still holds it.
@safe
struct IOSlots {
    @safe
    private struct Slot {
        var generation: UInt32 = 0
        var isInFlight = false
        /// Whether the kernel was asked to end the request: it is not continued any more.
        var isCancelled = false
        /// Bytes done by earlier short transfers.
        var transferred = 0
        var request = unsafe IORequest(.timeout, -1)
        var continuation: UnsafeContinuation<Int, Never>?
        /// What is called instead of resuming `continuation`.
        var handler: (any IOCompletionHandler)?
        /// The task that waits, where nothing else would notice its cancellation. Not counted as a reference: the task
        /// cannot end while it waits for this slot.
        var task: WaitingTask?
        /// The group that waits instead of `continuation`, or -1.
        var group: Int32 = -1
        /// Of a request with a deadline: when it is late, and the memory that stands in for the caller's.
        var fence: FileFence?
        var due: UInt64 = 0
        var copy = unsafe UnsafeMutableRawBufferPointer(start: nil, count: 0)
        /// Pieces of the caller's memory, listed in the slot's own.
        var pieceCount = 0
        /// The caller has been told that the request is late and waits no more.
        var isExpired = false
    }

    @safe
    private struct Group {
        var remaining = 0
        var result = 0
        var continuation: UnsafeContinuation<Int, Never>?
    }

    /// What belongs to each slot at a fixed address: its `iovec` list, `msghdr`, `timespec` or socket address.
    static let memoryPerSlot = unsafe 16 * MemoryLayout<iovec>.stride + 256
    private static let slotsPerBlock = 256

    private var slots: [Slot] = []
    private var free: [UInt32] = []
    private var groups: [Group] = []
    private var freeGroups: [Int32] = []
    private var blocks: [UnsafeMutableRawPointer] = unsafe []
    private(set) var inFlight = 0
    /// Slots in flight that have a task or are to end.
    private var sweepable = 0

    /// Notes that a request is to end; false where it has ended already.
    mutating func cancel(_ token: UInt64) -> Bool {
        guard isInFlight(token) else { return false }
        let index = Int(truncatingIfNeeded: token & 0xffff_ffff)
        if slots[index].task == nil && !slots[index].isCancelled { sweepable += 1 }
        slots[index].isCancelled = true
        return true
    }

    func isInFlight(_ token: UInt64) -> Bool {
        let index = Int(truncatingIfNeeded: token & 0xffff_ffff)
        guard index < slots.count else { return false }
        return slots[index].isInFlight && slots[index].generation == UInt32(token >> 32)
    }

    /// Takes a slot for a request that starts before the executor returns to its loop.
    mutating func reserve() -> UInt64 {
        if free.isEmpty { grow() }
        let index = free.removeLast()
        return UInt64(slots[Int(index)].generation) << 32 | UInt64(index)
    }

    mutating func start(
        _ token: UInt64, _ request: IORequest, _ continuation: UnsafeContinuation<Int, Never>,
        _ task: WaitingTask?, _ fence: FileFence? = nil
    ) -> IORequest {
        let index = Int(token & 0xffff_ffff)
        var request = request
        if let moved = unsafe keep(request, index) { unsafe request.memory = moved }
        if let fence {
            if request.operation.isFileTransfer {
                let list = unsafe pieces(of: index)
                unsafe list[0] = unsafe iovec(iov_base: request.memory, iov_len: request.count)
                guardRequest(&request, index, fence, pieceCount: 1)
            } else {
                guardRequest(&request, index, fence, pieceCount: 0)
            }
        }
        begin(index, request, task)
        unsafe slots[index].continuation = continuation
        return request
    }

    /// Starts a request for a handler.
    mutating func start(
        _ token: UInt64, _ request: IORequest, _ handler: any IOCompletionHandler
    ) -> IORequest {
        let index = Int(token & 0xffff_ffff)
        var request = request
        if let moved = unsafe keep(request, index) { unsafe request.memory = moved }
        begin(index, request, nil)
        slots[index].handler = handler
        return request
    }

    /// Copies what the kernel reads at submission (an address or a time on the caller's stack) to the slot's memory.
    private func keep(_ request: IORequest, _ index: Int) -> UnsafeMutableRawPointer? {
        let byteCount: Int
        switch request.operation {
        case .connect: byteCount = request.count
        case .timeout: byteCount = MemoryLayout<__kernel_timespec>.size
        default: return nil
        }
        guard let source = unsafe request.memory, byteCount <= 256 else { return nil }
        let memory = unsafe memory(of: index)
        unsafe memory.copyMemory(from: source, byteCount: byteCount)
        return unsafe memory
    }

    /// Starts one request for each contiguous run of segments.
    mutating func start(
        _ vector: IOVector, isWrite: Bool, descriptor: Int32, _ continuation: UnsafeContinuation<Int, Never>,
        _ task: WaitingTask?, _ fence: FileFence?, submit: (IORequest, UInt64) -> Void
    ) {
        let group: Int32
        if let reused = freeGroups.popLast() {
            group = reused
        } else {
            group = Int32(groups.count)
            groups.append(Group())
        }
        unsafe groups[Int(group)] = Group(remaining: 0, result: 0, continuation: continuation)
        var first = 0
        while first < vector.count {
            var end = first + 1
            while end < vector.count && vector[end].offset == vector[end - 1].range.upperBound { end += 1 }
            let token = reserve()
            let index = Int(token & 0xffff_ffff)
            var request: IORequest
            if end == first + 1, fence == nil {
                let memory = unsafe vector[first].memory
                request = unsafe IORequest(
                    isWrite ? .write : .read, descriptor, memory.baseAddress, count: memory.count)
            } else {
                let list = unsafe pieces(of: index)
                for segment in first..<end {
                    let memory = unsafe vector[segment].memory
                    unsafe list[segment - first] = unsafe iovec(iov_base: memory.baseAddress, iov_len: memory.count)
                }
                request = unsafe IORequest(
                    isWrite ? .writeVector : .readVector, descriptor, UnsafeMutableRawPointer(list), count: end - first)
            }
            request.offset = vector[first].offset
            if let fence { guardRequest(&request, index, fence, pieceCount: end - first) }
            groups[Int(group)].remaining += 1
            begin(index, request, task)
            slots[index].group = group
            submit(request, token)
            first = end
        }
    }

    /// Gives a request its deadline, and memory of its own in place of the caller's pieces.
    private mutating func guardRequest(
        _ request: inout IORequest, _ index: Int, _ fence: FileFence, pieceCount: Int
    ) {
        slots[index].fence = fence
        slots[index].due = fence.deadline.due
        slots[index].pieceCount = pieceCount
        unsafe request.workers = .passUnretained(fence.workers)
        guard pieceCount > 0 else { return }
        let isWrite = Self.isWrite(request.operation)
        let list = unsafe pieces(of: index)
        var byteCount = 0
        for piece in 0..<pieceCount { unsafe byteCount += list[piece].iov_len }
        let copy = unsafe IOBufferPool.shared.take(byteCount)
        if isWrite {
            var done = 0
            for piece in 0..<pieceCount {
                let length = unsafe list[piece].iov_len
                if length > 0, let from = unsafe list[piece].iov_base, let to = copy.baseAddress {
                    // Sound: the copy has room for the sum of all pieces.
                    unsafe (to + done).copyMemory(from: from, byteCount: length)
                }
                done += length
            }
        }
        unsafe slots[index].copy = copy
        request.operation = isWrite ? .write : .read
        unsafe request.memory = copy.baseAddress
        request.count = byteCount
    }

    /// Ends the deadline of a request that has come back: what was read goes to the caller, if it still waits.
    private mutating func releaseGuard(_ index: Int) {
        guard let fence = slots[index].fence else { return }
        let copy = unsafe slots[index].copy
        if !slots[index].isExpired, slots[index].request.operation == .read {
            let list = unsafe pieces(of: index)
            var done = 0
            for piece in 0..<slots[index].pieceCount {
                let length = unsafe min(list[piece].iov_len, slots[index].transferred - done)
                guard length > 0 else { break }
                if let to = unsafe list[piece].iov_base, let from = copy.baseAddress {
                    // Sound: the copy holds what was transferred, and the caller lends its memory until it is resumed.
                    unsafe to.copyMemory(from: from + done, byteCount: length)
                }
                done += length
            }
        }
        unsafe IOBufferPool.shared.give(copy)
        unsafe slots[index].copy = unsafe UnsafeMutableRawBufferPointer(start: nil, count: 0)
        if slots[index].isExpired { fence.returned(isChange: slots[index].request.operation.isChange) }
        slots[index].fence = nil
    }

    /// Tells those whose requests are late that they are, and calls `body` with the token of each: the kernel is asked
    /// to end it, and its memory stays its own until it has.
    mutating func expire(now: UInt64, _ body: (UInt64) -> Void) {
        for index in slots.indices where slots[index].isInFlight && slots[index].fence != nil {
            guard !slots[index].isExpired, slots[index].due <= now else { continue }
            slots[index].isExpired = true
            let operation = slots[index].request.operation
            slots[index].fence?.expired("\(operation)", isChange: operation.isChange)
            if !slots[index].isCancelled {
                slots[index].isCancelled = true
                if slots[index].task == nil { sweepable += 1 }
            }
            // It may end once it is resumed.
            slots[index].task = nil
            resume(index, -Int(ETIMEDOUT))
            body(token(of: index))
        }
    }

    private func token(of index: Int) -> UInt64 { UInt64(slots[index].generation) << 32 | UInt64(index) }

    private mutating func begin(_ index: Int, _ request: IORequest, _ task: WaitingTask?) {
        slots[index].isInFlight = true
        slots[index].isCancelled = false
        slots[index].transferred = 0
        slots[index].request = request
        slots[index].task = task
        slots[index].group = -1
        inFlight += 1
        if task != nil { sweepable += 1 }
    }

    /// Whether a request is in flight that has to be looked at now and then.
    var hasSweepable: Bool { sweepable > 0 }

    /// Calls `body` with the token of each request whose task has been cancelled: again and again while it is in
    /// flight, because the kernel misses a request that is on its way to one of its worker threads.
    mutating func forEachCancelled(_ body: (UInt64) -> Void) {
        for index in slots.indices where slots[index].isInFlight {
            guard slots[index].isCancelled || slots[index].task?.isCancelled == true else { continue }
            slots[index].isCancelled = true
            body(token(of: index))
        }
    }

    /// What is left to do for a completion.
    enum Remainder {
        case finished
        /// To submit what the transfer did not do.
        case rest(IORequest)
        /// To call a handler.
        case handed(any IOCompletionHandler, Int)
    }

    /// Takes a completion, and resumes who waits where that was all.
    mutating func complete(_ completion: IOCompletion) -> Remainder {
        let index = Int(truncatingIfNeeded: completion.token & 0xffff_ffff)
        guard isInFlight(completion.token) else { return .finished }
        var result = completion.result
        if result == -Int(EINTR) {
            // A worker thread of the kernel is interrupted by a cancellation, too.
            if !slots[index].isCancelled { return .rest(slots[index].request) }
            result = -Int(ECANCELED)
        }
        if Self.isTransfer(slots[index].request.operation) {
            if result > 0 {
                slots[index].transferred += result
                if Self.advance(&slots[index].request, by: result) {
                    if !slots[index].isCancelled { return .rest(slots[index].request) }
                    result = -Int(ECANCELED)
                }
            }
            if result >= 0 {
                // A write that makes no progress would be retried for ever.
                let isStuck =
                    result == 0 && Self.isWrite(slots[index].request.operation) && slots[index].request.count > 0
                result = isStuck ? -Int(EIO) : slots[index].transferred
            }
        }
        let handler = slots[index].handler.take()
        finish(index, result)
        return handler.map { .handed($0, result) } ?? .finished
    }

    private mutating func finish(_ index: Int, _ result: Int) {
        releaseGuard(index)
        let isExpired = slots[index].isExpired
        slots[index].isExpired = false
        if slots[index].task != nil || slots[index].isCancelled { sweepable -= 1 }
        slots[index].task = nil
        slots[index].isInFlight = false
        slots[index].generation &+= 1
        free.append(UInt32(index))
        inFlight -= 1
        if !isExpired { resume(index, result) }
    }

    /// Resumes who waits for a slot.
    private mutating func resume(_ index: Int, _ result: Int) {
        let group = Int(slots[index].group)
        slots[index].group = -1
        let waiter = unsafe slots[index].continuation
        unsafe slots[index].continuation = nil
        guard group >= 0 else {
            unsafe waiter?.resume(returning: result)
            return
        }
        groups[group].remaining -= 1
        if groups[group].result >= 0 { groups[group].result = result < 0 ? result : groups[group].result + result }
        guard groups[group].remaining == 0 else { return }
        let groupWaiter = unsafe groups[group].continuation
        unsafe groups[group].continuation = nil
        freeGroups.append(Int32(group))
        unsafe groupWaiter?.resume(returning: groups[group].result)
    }

    private static func isTransfer(_ operation: IORequest.Operation) -> Bool {
        operation.isFileTransfer || operation == .send
    }

    private static func isWrite(_ operation: IORequest.Operation) -> Bool {
        switch operation {
        case .write, .writeVector, .send: true
        default: false
        }
    }

    /// Moves a transfer past `done` bytes; false when nothing is left of it.
    private static func advance(_ request: inout IORequest, by done: Int) -> Bool {
        switch request.operation {
        case .read, .write, .send:
            request.count -= done
            unsafe request.memory = request.memory.map { unsafe $0 + done }
            if request.operation != .send { request.offset += UInt64(done) }
            return request.count > 0
        case .readVector, .writeVector:
            request.offset += UInt64(done)
            var left = done
            while request.count > 0, let list = unsafe request.memory?.assumingMemoryBound(to: iovec.self) {
                let length = unsafe list.pointee.iov_len
                if left < length {
                    unsafe list.pointee.iov_base += left
                    unsafe list.pointee.iov_len -= left
                    return true
                }
                left -= length
                request.count -= 1
                unsafe request.memory = UnsafeMutableRawPointer(list + 1)
            }
            return false
        default:
            return false
        }
    }

    private func pieces(of index: Int) -> UnsafeMutablePointer<iovec> {
        unsafe memory(of: index).assumingMemoryBound(to: iovec.self)
    }

    private func memory(of index: Int) -> UnsafeMutableRawPointer {
        let offset = index % Self.slotsPerBlock * Self.memoryPerSlot
        return unsafe blocks[index / Self.slotsPerBlock] + offset
    }

    private mutating func grow() {
        let start = slots.count
        unsafe blocks.append(.allocate(byteCount: Self.slotsPerBlock * Self.memoryPerSlot, alignment: 16))
        slots.append(contentsOf: repeatElement(Slot(), count: Self.slotsPerBlock))
        free.append(contentsOf: (start..<slots.count).reversed().map { UInt32($0) })
    }

    /// Frees the memory at fixed addresses; nothing is in flight any more.
    mutating func deallocate() {
        unsafe blocks.forEach { unsafe $0.deallocate() }
        unsafe blocks = []
    }
}

/// A task that is suspended until a request completes.
@safe
package struct WaitingTask {
    // Sound: the bits of a reference that is not counted, turned back only while the task waits and so exists.
    private let bits: UInt

    /// The task that runs now.
    package static var current: WaitingTask? {
        unsafe withUnsafeCurrentTask { task in
            // Bits are taken without counting a reference; all are 0 where there is no task.
            let bits = unsafe unsafeBitCast(task, to: UInt.self)
            return bits == 0 ? nil : WaitingTask(bits: bits)
        }
    }

    package var isCancelled: Bool {
        // The bit pattern is copied to count a reference while it is asked.
        unsafe withExtendedLifetime(unsafeBitCast(bits, to: UnsafeCurrentTask.self)) { unsafe $0.isCancelled }
    }
}

import Glibc

/// Page-aligned memory for I/O, borrowed from a process-wide pool and returned when its owner goes out of scope.
///
/// Contents are unspecified at first: a buffer may hold bytes of an earlier use.
@safe
public struct IOBuffer: ~Copyable, @unchecked Sendable {
    /// Memory pages and direct I/O alignment, in bytes.
    public static let alignment = 4096

    // Sound: the memory is owned by this value alone until `deinit`.
    package let memory: UnsafeMutableRawBufferPointer
    private let capacity: Int

    /// A buffer of `byteCount` bytes. Constant time when the pool has one of that size class.
    public init(byteCount: Int) {
        precondition(byteCount >= 0, "negative buffer size")
        let taken = unsafe IOBufferPool.shared.take(byteCount)
        capacity = taken.count
        unsafe memory = UnsafeMutableRawBufferPointer(rebasing: taken[0..<byteCount])
    }

    deinit {
        unsafe IOBufferPool.shared.give(
            UnsafeMutableRawBufferPointer(start: memory.baseAddress, count: capacity))
    }

    public var byteCount: Int { unsafe memory.count }

    /// The bytes, to read.
    public var bytes: RawSpan {
        @_lifetime(borrow self)
        get {
            let span = unsafe RawSpan(_unsafeBytes: UnsafeRawBufferPointer(memory))
            return unsafe _overrideLifetime(span, borrowing: self)
        }
    }

    /// The bytes, to change.
    public var mutableBytes: MutableRawSpan {
        @_lifetime(&self)
        mutating get {
            let span = unsafe MutableRawSpan(_unsafeBytes: memory)
            return unsafe _overrideLifetime(span, mutating: &self)
        }
    }

    /// Sets every byte to zero.
    public mutating func zero() {
        unsafe memory.initializeMemory(as: UInt8.self, repeating: 0)
    }
}

/// Free buffers by power-of-two size class. Classes above `largestPooled` go back to the allocator at once, and each
/// class keeps at most `bytesKeptPerClass`.
@safe
final class IOBufferPool: @unchecked Sendable {
    static let shared = IOBufferPool()
    private static let largestPooled = 4 << 20
    private static let bytesKeptPerClass = 16 << 20

    private let free = unsafe Locked<[[UnsafeMutableRawPointer]]>(Array(repeating: [], count: 64))

    func take(_ byteCount: Int) -> UnsafeMutableRawBufferPointer {
        let size = max(IOBuffer.alignment, byteCount.roundedUpToPowerOfTwo)
        let pooled =
            unsafe size <= Self.largestPooled
            ? free.withLock { unsafe $0[size.trailingZeroBitCount].popLast() } : nil
        let pointer = unsafe pooled ?? .allocate(byteCount: size, alignment: IOBuffer.alignment)
        return unsafe UnsafeMutableRawBufferPointer(start: pointer, count: size)
    }

    func give(_ buffer: UnsafeMutableRawBufferPointer) {
        guard let pointer = buffer.baseAddress else { return }
        let size = buffer.count
        let kept =
            unsafe size <= Self.largestPooled
            && free.withLock { classes in
                let sizeClass = size.trailingZeroBitCount
                guard unsafe (classes[sizeClass].count + 1) * size <= Self.bytesKeptPerClass else { return false }
                unsafe classes[sizeClass].append(pointer)
                return true
            }
        if !kept { unsafe pointer.deallocate() }
    }
}

extension Int {
    /// The smallest power of two that is not less than this positive number.
    var roundedUpToPowerOfTwo: Int {
        self <= 1 ? 1 : 1 << (Int.bitWidth - (self - 1).leadingZeroBitCount)
    }
}

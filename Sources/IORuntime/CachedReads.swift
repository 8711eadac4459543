import CURing
import Glibc
import Synchronization

/// Reads of one file that the page cache can answer: by a system call that does not wait, so that the task need not be
/// suspended.
///
/// While the file is mostly not in the page cache, the attempts become rare: each one that fails doubles the number of
/// reads that go without.
struct CachedReads: ~Copyable, Sendable {
    /// Longer reads take so long to copy that a suspension does not count.
    static let largestByteCount = 64 << 10

    private static let never = UInt32.max
    private static let longestPause: UInt32 = 256

    /// Reads to go before the next attempt, or `never`. Races lose a count and nothing else.
    private let pause: Atomic<UInt32>
    private let nextPause = Atomic<UInt32>(1)

    /// `isPossible` false for files that are read past the page cache.
    init(isPossible: Bool) {
        pause = Atomic(isPossible ? 0 : Self.never)
    }

    /// Reads into `memory` what is there without waiting. Returns the number of bytes read, 0 where the request has to
    /// go to the engine: that one tells the end of the file and all errors.
    @inline(__always)
    func read(_ descriptor: Int32, _ memory: UnsafeMutableRawBufferPointer, at offset: UInt64) -> Int {
        let pausing = pause.load(ordering: .relaxed)
        guard pausing == 0, memory.count <= Self.largestByteCount, offset <= Int64.max else {
            if pausing != 0 && pausing != Self.never { pause.store(pausing - 1, ordering: .relaxed) }
            return 0
        }
        guard IOExecutor.takeInlineBudget(memory.count) else { return 0 }
        // Sound: the caller lends the memory for the length of the call.
        var part = unsafe iovec(iov_base: memory.baseAddress, iov_len: memory.count)
        let done = unsafe preadv2(descriptor, &part, 1, off_t(offset), Int32(RWF_NOWAIT))
        if done > 0 {
            if nextPause.load(ordering: .relaxed) != 1 { nextPause.store(1, ordering: .relaxed) }
            return done
        }
        if done < 0 { missed(errno) }
        return 0
    }

    @inline(never)
    private func missed(_ error: Int32) {
        guard error == EAGAIN else {
            // The file system has no such reads (NFS, FUSE), or the kernel.
            if error == EOPNOTSUPP || error == ENOSYS || error == EINVAL { pause.store(Self.never, ordering: .relaxed) }
            return
        }
        let pausing = nextPause.load(ordering: .relaxed)
        nextPause.store(min(pausing &* 2, Self.longestPause), ordering: .relaxed)
        pause.store(pausing, ordering: .relaxed)
    }
}

/// The parts of L2 tables that are in memory.
///
/// Changed slices stay until a flush has written them; slices with an allocation in flight stay until it is linked.
/// The others go when the cache is full, those first that were not used of late (the clock algorithm).
struct SliceCache {
    struct Slot {
        var slice: UInt64
        /// In the byte order of this machine.
        var words: [UInt64]
        /// Changes since the slice was loaded; tells a flush whether it wrote the latest.
        var version: UInt64 = 0
        var isDirty = false
        var pins = 0
        var isRecentlyUsed = true
        /// An entry points into metadata: writes must check each entry.
        var isSuspect = false
    }

    /// In slices, not counting those that must stay.
    var limit: Int
    private(set) var slots: [Slot] = []
    private(set) var dirtyCount = 0
    /// The slots of dirty slices, each once.
    private var dirtied: [Int] = []
    private var slotOfSlice: [UInt64: Int] = [:]
    private var freeSlots: [Int] = []
    private var hand = 0
    /// Slices that were found in memory, and those that had to be read.
    private(set) var foundCount: UInt64 = 0
    private(set) var loadedCount: UInt64 = 0

    init(limit: Int) { self.limit = max(limit, 1) }

    /// The slot of `slice` if it is in memory.
    @inline(__always)
    mutating func find(_ slice: UInt64) -> Int? {
        guard let slot = slotOfSlice[slice] else { return nil }
        slots[slot].isRecentlyUsed = true
        foundCount &+= 1
        return slot
    }

    func contains(_ slice: UInt64) -> Bool { slotOfSlice[slice] != nil }

    /// Puts a slice that is not there yet into memory.
    mutating func insert(_ slice: UInt64, _ words: [UInt64], isSuspect: Bool) {
        loadedCount &+= 1
        let new = Slot(slice: slice, words: words, isSuspect: isSuspect)
        let slot: Int
        if let free = freeSlots.popLast() {
            slot = free
            slots[slot] = new
        } else if slotOfSlice.count >= limit, let victim = findVictim() {
            slotOfSlice[slots[victim].slice] = nil
            slot = victim
            slots[slot] = new
        } else {
            slot = slots.count
            slots.append(new)
        }
        slotOfSlice[slice] = slot
    }

    private mutating func findVictim() -> Int? {
        for _ in 0..<2 * slots.count {
            hand = hand + 1 < slots.count ? hand + 1 : 0
            if slots[hand].isDirty || slots[hand].pins > 0 { continue }
            if !slots[hand].isRecentlyUsed { return hand }
            slots[hand].isRecentlyUsed = false
        }
        return nil
    }

    /// Changes a word of a slice in memory; a flush will write it.
    mutating func set(_ word: UInt64, at index: Int, slot: Int) {
        slots[slot].words[index] = word
        slots[slot].version += 1
        if !slots[slot].isDirty {
            slots[slot].isDirty = true
            dirtied.append(slot)
            dirtyCount += 1
        }
    }

    mutating func pin(_ slot: Int) { slots[slot].pins += 1 }

    mutating func unpin(_ slice: UInt64) {
        if let slot = slotOfSlice[slice] { slots[slot].pins -= 1 }
    }

    /// The slices that a flush has to write.
    var dirtySlots: [Slot] { dirtied.map { slots[$0] } }

    /// A flush has written these; those that changed since stay dirty.
    mutating func markWritten(_ written: [Slot]) {
        for old in written {
            guard let slot = slotOfSlice[old.slice], slots[slot].isDirty, slots[slot].version == old.version else {
                continue
            }
            slots[slot].isDirty = false
            dirtyCount -= 1
        }
        dirtied.removeAll { !slots[$0].isDirty }
        shrink()
    }

    /// Gives memory back that only unwritten changes had needed.
    private mutating func shrink() {
        while slotOfSlice.count > limit, let victim = findVictim() {
            slotOfSlice[slots[victim].slice] = nil
            slots[victim] = Slot(slice: .max, words: [], isRecentlyUsed: false)
            freeSlots.append(victim)
            // A free slot is pinned so that it is no victim.
            slots[victim].pins = 1
        }
    }

    /// Forgets everything; nothing may be dirty or pinned.
    mutating func removeAll() {
        let (found, loaded) = (foundCount, loadedCount)
        self = SliceCache(limit: limit)
        (foundCount, loadedCount) = (found, loaded)
    }
}

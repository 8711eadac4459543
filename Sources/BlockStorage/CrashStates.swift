/// What a power loss could have left of a recorded run: every cut of the log, with requests that no flush had covered
/// lost, done out of order, or torn.
///
/// At each cut everything durable is there. Of the other requests any subset may be, and of each any subset of its
/// 512-byte sectors, the only unit that storage writes whole. While few requests are pending all their subsets are
/// tried; beyond that, and for tearing, a seed chooses.
public struct CrashStates: Sendable {
    /// One state that storage may have been in.
    public struct State: Sendable {
        /// The bytes, free to be changed.
        public let volume: MemoryVolume
        /// How many entries of the log the run had got to when the power went.
        public let entryCount: Int
        fileprivate let fates: [Int: Fate]

        /// Says which requests were lost or torn, to repeat a failure by hand.
        public var description: String {
            let parts = fates.sorted { $0.key < $1.key }.compactMap { entry, fate -> String? in
                switch fate {
                case .done: nil
                case .lost: "\(entry) lost"
                case .torn(let salt): "\(entry) torn by \(salt)"
                }
            }
            return (["cut after \(entryCount) entries"] + parts).joined(separator: ", ")
        }
    }

    /// What becomes of one pending request.
    fileprivate enum Fate: Hashable {
        case lost, done
        /// Only the sectors whose hash with this salt is even.
        case torn(salt: UInt64)
    }

    /// In bytes.
    private static let sectorSize: UInt64 = 512
    /// Up to so many pending requests, every subset is tried.
    private static let exhaustiveLimit = 4

    private let log: [RecordingVolume.Entry]
    private let initial: MemoryVolume
    private let discardsTakeEffect: Bool

    /// The states of a run that began with `initial` and recorded `log`. Storage may ignore a discard for good; with
    /// `discardsTakeEffect` false it ignores them all.
    public init(
        of log: [RecordingVolume.Entry], startingFrom initial: MemoryVolume, discardsTakeEffect: Bool = true
    ) {
        self.log = log
        self.initial = initial.copy()
        self.discardsTakeEffect = discardsTakeEffect
    }

    /// Calls `body` with each state and returns how many there were: at each cut from entry `start` on at most
    /// `sampleCount` beyond the plain ones, chosen by `seed`.
    @discardableResult
    public func forEach<Failure: Error>(
        from start: Int = 0, sampleCount: Int = 8, seed: UInt64 = 1,
        _ body: (State) async throws(Failure) -> Void
    ) async throws(Failure) -> Int {
        var generator = SeededGenerator(seed: seed)
        /// Everything before entry `settledCount`, all of it durable.
        let settled = initial.copy()
        var settledCount = 0
        var pending: [Int] = []
        var stateCount = 0

        for cut in 0...log.count {
            if cut > 0 {
                switch log[cut - 1].operation {
                case .write, .writeZeroes, .resize: pending.append(cut - 1)
                case .discard: if discardsTakeEffect { pending.append(cut - 1) }
                case .flush(let stillPending): pending = pending.filter { stillPending.contains($0) }
                case .durable(let entry): pending.removeAll { $0 == entry }
                }
                let newSettledCount = pending.first ?? cut
                for entry in settledCount..<newSettledCount where takesEffect(entry) {
                    settled.apply(log[entry].operation)
                }
                settledCount = newSettledCount
            }
            guard cut >= start else { continue }
            for fates in combinations(
                pending, sampleCount: sampleCount, isLatestNew: pending.last == cut - 1, &generator)
            {
                let volume = settled.copy()
                for entry in settledCount..<cut where takesEffect(entry) {
                    apply(entry, fates[entry] ?? .done, to: volume, after: settledCount)
                }
                stateCount += 1
                try await body(State(volume: volume, entryCount: cut, fates: fates))
            }
        }
        return stateCount
    }

    private func takesEffect(_ entry: Int) -> Bool {
        if case .discard = log[entry].operation { return discardsTakeEffect }
        return log[entry].changesBytes
    }

    /// What may have become of the pending requests. Those without the latest request were tried when it had not begun.
    private func combinations(
        _ pending: [Int], sampleCount: Int, isLatestNew: Bool, _ generator: inout SeededGenerator
    ) -> [[Int: Fate]] {
        guard let latest = pending.last else { return [[:]] }
        let all = Dictionary(uniqueKeysWithValues: pending.map { ($0, Fate.done) })
        let none = all.mapValues { _ in Fate.lost }
        // After a flush that left some pending, or one entry that changes nothing, only the plain cases are new.
        guard isLatestNew else { return [all, none] }

        var combinations: [[Int: Fate]] = []
        var known: Set<[Int: Fate]> = []
        func insert(_ fates: [Int: Fate]) {
            if known.insert(fates).inserted { combinations.append(fates) }
        }
        insert(all)
        let earlier = pending.dropLast()
        if pending.count <= Self.exhaustiveLimit {
            for subset in 0..<1 << earlier.count {
                var fates = all
                for (bit, entry) in earlier.enumerated() where subset >> bit & 1 == 0 { fates[entry] = .lost }
                insert(fates)
            }
        } else {
            insert(none.merging([latest: .done]) { $1 })
        }
        for sample in 0..<sampleCount {
            var fates = all
            // From almost everything lost to almost everything done.
            let chance = UInt64(sample % 4) + 1
            for entry in earlier where generator.next() % 5 >= chance { fates[entry] = .lost }
            for entry in pending where fates[entry] == .done && generator.next() % 3 == 0 && isTearable(entry) {
                fates[entry] = .torn(salt: generator.next())
            }
            insert(fates)
        }
        return combinations
    }

    private func isTearable(_ entry: Int) -> Bool { sectors(of: entry).count > 1 }

    private func sectors(of entry: Int) -> Range<UInt64> {
        switch log[entry].operation {
        case .write(let offset, let bytes) where !bytes.isEmpty:
            offset / Self.sectorSize..<(offset + UInt64(bytes.count) - 1) / Self.sectorSize + 1
        case .writeZeroes(let range) where !range.isEmpty, .discard(let range) where !range.isEmpty:
            range.lowerBound / Self.sectorSize..<(range.upperBound - 1) / Self.sectorSize + 1
        default: 0..<0
        }
    }

    private func apply(_ entry: Int, _ fate: Fate, to volume: MemoryVolume, after settledCount: Int) {
        let sectors = sectors(of: entry)
        let landed: (UInt64) -> Bool
        switch fate {
        case .lost: return
        case .done: landed = { _ in true }
        case .torn(let salt):
            landed = { sector in
                var hash = SeededGenerator(seed: salt &+ sector)
                return hash.next() & 1 == 0
            }
        }
        // A sector that is written in part is written whole, with everything that was written to it before.
        for sector in partialSectors(of: entry) where landed(sector) {
            for earlier in settledCount..<entry where takesEffect(earlier) && self.sectors(of: earlier).contains(sector)
            {
                volume.apply(log[earlier].operation, in: bytes(of: sector))
            }
        }
        if fate == .done { return volume.apply(log[entry].operation) }
        for sector in sectors where landed(sector) { volume.apply(log[entry].operation, in: bytes(of: sector)) }
    }

    private func bytes(of sector: UInt64) -> Range<UInt64> {
        sector * Self.sectorSize..<sector * Self.sectorSize + Self.sectorSize
    }

    /// The sectors of which a request changes only a part.
    private func partialSectors(of entry: Int) -> [UInt64] {
        let range: Range<UInt64>
        switch log[entry].operation {
        case .write(let offset, let bytes): range = offset..<offset + UInt64(bytes.count)
        case .writeZeroes(let zeroed), .discard(let zeroed): range = zeroed
        case .resize, .flush, .durable: return []
        }
        if range.isEmpty { return [] }
        let first = range.lowerBound / Self.sectorSize, last = (range.upperBound - 1) / Self.sectorSize
        return (first == last ? [first] : [first, last]).filter { bytes(of: $0).clamped(to: range) != bytes(of: $0) }
    }
}

/// Volumes by a key, the smallest first; the smaller index first where keys are equal.
///
/// A volume's place is known, so that its key can change or it can leave in logarithmic time.
struct VolumeHeap: Sendable {
    private struct Entry {
        var key: UInt64
        var volume: Int32

        func precedes(_ other: Entry) -> Bool { (key, volume) < (other.key, other.volume) }
    }

    private var entries: [Entry] = []
    /// Of each volume, its place in `entries`; -1 where it has none.
    private var places: [Int32] = []

    var isEmpty: Bool { entries.isEmpty }
    var first: (key: UInt64, volume: Int)? { entries.first.map { ($0.key, Int($0.volume)) } }

    func contains(_ volume: Int) -> Bool { volume < places.count && places[volume] >= 0 }

    /// Makes room for volumes with an index below `count`.
    mutating func reserve(_ count: Int) {
        guard count > places.count else { return }
        places.append(contentsOf: repeatElement(-1, count: count - places.count))
        entries.reserveCapacity(count)
    }

    /// Adds the volume, or gives it another key.
    mutating func set(_ volume: Int, _ key: UInt64) {
        let place = Int(places[volume])
        let entry = Entry(key: key, volume: Int32(volume))
        if place < 0 {
            entries.append(entry)
            places[volume] = Int32(entries.count - 1)
            rise(entries.count - 1)
        } else if entries[place].key != key {
            entries[place] = entry
            rise(place)
            sink(Int(places[volume]))
        }
    }

    /// Makes all keys smaller by `amount`, which leaves their order.
    mutating func recede(by amount: UInt64) {
        for index in entries.indices { entries[index].key -= min(entries[index].key, amount) }
    }

    mutating func remove(_ volume: Int) {
        guard contains(volume) else { return }
        let place = Int(places[volume])
        places[volume] = -1
        let last = entries.removeLast()
        guard place < entries.count else { return }
        entries[place] = last
        places[Int(last.volume)] = Int32(place)
        rise(place)
        sink(Int(places[Int(last.volume)]))
    }

    private mutating func rise(_ start: Int) {
        var place = start
        let entry = entries[place]
        while place > 0 {
            let parent = (place - 1) / 2
            guard entry.precedes(entries[parent]) else { break }
            put(entries[parent], at: place)
            place = parent
        }
        put(entry, at: place)
    }

    private mutating func sink(_ start: Int) {
        var place = start
        let entry = entries[place]
        while true {
            var child = place * 2 + 1
            guard child < entries.count else { break }
            if child + 1 < entries.count, entries[child + 1].precedes(entries[child]) { child += 1 }
            guard entries[child].precedes(entry) else { break }
            put(entries[child], at: place)
            place = child
        }
        put(entry, at: place)
    }

    private mutating func put(_ entry: Entry, at place: Int) {
        entries[place] = entry
        places[Int(entry.volume)] = Int32(place)
    }
}

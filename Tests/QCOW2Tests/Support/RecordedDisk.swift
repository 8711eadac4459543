import BlockStorage
import IORuntime

@testable import QCOW2

/// An image on a recording volume, and what its disk and snapshots may hold at each entry of the recording.
///
/// After each operation it notes the bytes that the disk shows. A power loss may leave, in each sector, any of the
/// contents since the latest flush that completed.
final class RecordedDisk {
    struct Version {
        var contents: [UInt8]
        var snapshots: [String: [UInt8]]
        /// The length of the recording when the operation began that led here.
        let begunAt: Int
    }

    let initial: MemoryVolume
    let recording: RecordingVolume
    let volume: QCOW2Volume
    let backing: MemoryVolume?
    private(set) var versions: [Version]
    /// From which entry of the recording on which version is the oldest that may be there.
    private var durable: [(entry: Int, version: Int)] = [(0, 0)]

    /// Opens the image in `base` and records from then on.
    init(_ base: MemoryVolume, backing: MemoryVolume?) async throws {
        initial = base.copy()
        recording = RecordingVolume(base)
        self.backing = backing
        volume = try await Self.open(recording, backing: backing)
        versions = []
        versions = [Version(contents: try await volume.allBytes(), snapshots: [:], begunAt: 0)]
    }

    static func open(
        _ base: any ResizableVolume, backing: MemoryVolume?, snapshot: String? = nil
    ) async throws -> QCOW2Volume {
        var options = QCOW2OpenOptions()
        options.backing = backing?.copy()
        options.snapshot = snapshot
        return try await QCOW2Volume.open(base, options)
    }

    /// Does `operation` and notes its result; a durable one survives from its return on.
    func perform(
        isDurable: Bool = false, snapshots change: (inout [String: [UInt8]], [UInt8]) -> Void = { _, _ in },
        _ operation: (QCOW2Volume) async throws -> Void
    ) async throws {
        let begunAt = recording.entryCount
        try await operation(volume)
        let end = recording.entryCount
        var snapshots = versions[versions.count - 1].snapshots
        change(&snapshots, versions[versions.count - 1].contents)
        versions.append(Version(contents: try await volume.allBytes(), snapshots: snapshots, begunAt: begunAt))
        if isDurable { durable.append((end, versions.count - 1)) }
    }

    /// Closes the disk, which makes its present contents durable.
    func close() async throws {
        let begunAt = recording.entryCount
        try await volume.close()
        let last = versions[versions.count - 1]
        versions.append(Version(contents: last.contents, snapshots: last.snapshots, begunAt: begunAt))
        durable.append((recording.entryCount, versions.count - 1))
    }

    /// The disk's bytes and snapshots as they are now.
    var current: Version { versions[versions.count - 1] }

    /// What is wrong with the image in `state`, or `nil`.
    func problem(with state: CrashStates.State) async throws -> String? {
        let report = try await QCOW2Checker.check(state.volume)
        if report.corruptions > 0 { return "corrupt: \(report.findings)" }
        let oldest = durable.last { $0.entry <= state.entryCount }?.version ?? 0
        let newest = versions.lastIndex { $0.begunAt < state.entryCount } ?? 0
        let allowed = versions[oldest...max(oldest, newest)]

        let opened = try await Self.open(state.volume.copy(), backing: backing)
        guard allowed.contains(where: { $0.contents.count == Int(opened.geometry.size) }) else {
            return "the disk has \(opened.geometry.size) bytes"
        }
        if let sector = Self.unexpectedSector(try await opened.allBytes(), allowed.map(\.contents)) {
            return "sector \(sector) holds neither old nor new bytes (versions \(oldest) to \(newest))"
        }
        let names = opened.snapshots.map(\.name)
        guard allowed.contains(where: { Set($0.snapshots.keys) == Set(names) }) else { return "snapshots \(names)" }
        for name in names {
            let snapshot = try await Self.open(state.volume.copy(), backing: backing, snapshot: name)
            let bytes = try await snapshot.allBytes()
            guard allowed.contains(where: { $0.snapshots[name].map { Self.areSame($0, bytes) } ?? false }) else {
                return "snapshot \(name) has changed"
            }
        }
        return nil
    }

    /// Works on the image in `state` as a new session would, and checks again.
    func problemAfterUse(of state: CrashStates.State, seed: UInt64) async throws -> String? {
        let base = state.volume.copy()
        let opened = try await Self.open(base, backing: backing)
        var expected = try await opened.allBytes()
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<6 {
            let bytes = [UInt8](repeating: UInt8.random(in: 1...255, using: &generator), count: 512 * 5)
            let last = max(expected.count / 512 - 5, 0)
            let offset = Int.random(in: 0...last, using: &generator) * 512
            guard offset + bytes.count <= expected.count else { continue }
            try await opened.write(bytes.rawBytes, at: UInt64(offset))
            expected.replaceSubrange(offset..<offset + bytes.count, with: bytes)
        }
        try await opened.close()
        // Closing the image closed its base.
        let report = try await QCOW2Checker.check(base.copy())
        if report.corruptions > 0 { return "corrupt after use: \(report.findings)" }
        let reopened = try await Self.open(base.copy(), backing: backing)
        return Self.areSame(try await reopened.allBytes(), expected) ? nil : "other bytes than written after use"
    }

    /// Arrays themselves compare slowly in a debug build.
    private static func areSame(_ first: [UInt8], _ second: [UInt8]) -> Bool {
        first.rawBytes.hasSameBytes(as: second.rawBytes)
    }

    /// The first sector that no version has; what lies past the end of a version counts as zeros.
    private static func unexpectedSector(_ bytes: [UInt8], _ versions: [[UInt8]]) -> Int? {
        if versions.contains(where: { areSame($0, bytes) }) { return nil }
        for start in 0..<(bytes.count + 511) / 512 {
            let range = start * 512..<min(start * 512 + 512, bytes.count)

            let isKnown = versions.contains { version in
                let common = range.clamped(to: 0..<version.count)
                let start = range.lowerBound, split = start + common.count
                return bytes.rawBytes.extracting(start..<split).hasSameBytes(as: version.rawBytes.extracting(common))
                    && bytes.rawBytes.extracting(split..<range.upperBound).isZero
            }
            if !isKnown { return start }
        }
        return nil
    }
}

extension Volume {
    /// Everything on a small volume.
    func allBytes() async throws(StorageError) -> [UInt8] {
        try await readBytes(at: 0, count: Int(geometry.size))
    }
}

import BlockStorage
import Foundation
import IORuntime
import SystemPackage

/// The file that a cluster is kept in: written whole to another file, made durable, and put in the place of the old one.
///
/// It holds the accounts' secrets, so only its owner reads it. One process at a time has it.
struct StateFile: Sendable {
    struct Contents: Codable, Equatable {
        /// Of the layout.
        var version = 1
        var state: ClusterState
        /// Burst that the volumes had saved, in hundredths of a 4 KiB operation.
        var credits: [Int: Int64]
    }

    private static let name = "state.json"
    private static let newName = "state.json.new"
    private static let lockName = "lock"
    /// A larger file is none of ours.
    private static let largestByteCount: UInt64 = 256 << 20

    private let directory: Directory
    /// Keeps the lock.
    private let lock: File

    /// Opens the directory. Throws `notFound`, and `busy` while another simulator has it.
    static func open(in path: FilePath) async throws(StorageError) -> StateFile {
        do throws(SystemError) {
            let directory = try await Directory.open(path)
            let lock = try await directory.open(lockName, [.write, .create])
            if try await lock.lock(.exclusive, 0..<1) { return StateFile(directory: directory, lock: lock) }
        } catch {
            throw StorageError(error, "open state", at: path.string)
        }
        throw StorageError(.busy, "open state", at: path.string, why: "another simulator has it")
    }

    /// What was saved; nil where nothing was. Throws `corrupt` for what no simulator has written.
    func load() async throws(StorageError) -> Contents? {
        let place = directory.path.appending(Self.name).string
        var bytes: [UInt8] = []
        do throws(SystemError) {
            let file = try await directory.open(Self.name)
            // A file that is too large is no text in the part that is read.
            bytes = [UInt8](repeating: 0, count: Int(min(try await file.size(), Self.largestByteCount)))
            var span = bytes.mutableRawBytes
            _ = try await file.read(into: &span, at: 0)
            try await file.close()
        } catch {
            if error.errno == .noSuchFileOrDirectory { return nil }
            throw StorageError(error, "load state", at: place)
        }
        guard let contents = try? JSONDecoder().decode(Contents.self, from: Data(bytes)) else {
            throw StorageError(.corrupt, "load state", at: place, why: "it is no state of a simulated cluster")
        }
        guard contents.version == 1 else {
            throw StorageError(.notSupported, "load state", at: place, why: "its version is \(contents.version)")
        }
        if let fault = contents.state.fault {
            throw StorageError(.corrupt, "load state", at: place, why: fault)
        }
        return contents
    }

    /// Replaces what was saved. After an error the old contents are there still, or the new.
    func save(_ contents: Contents) async throws(StorageError) {
        let place = directory.path.appending(Self.name).string
        guard let data = try? JSONEncoder().encode(contents) else {
            throw StorageError(.internalError, "save state", at: place, why: "it cannot be written as JSON")
        }
        let bytes = [UInt8](data)
        do throws(SystemError) {
            let file = try await directory.open(Self.newName, [.write, .create, .truncate])
            try await file.write(bytes.rawBytes, at: 0)
            try await file.synchronize(dataOnly: false)
            try await file.close()
            try await directory.rename(Self.newName, to: Self.name, replacing: true)
            try await directory.synchronize()
        } catch {
            throw StorageError(error, "save state", at: place)
        }
    }
}

extension ClusterState {
    /// What cannot be in a state that calls have made; nil where all is well.
    var fault: String? {
        guard clusterID.utf8.count == 4, clusterID.utf8.allSatisfy(\.isLetterOrDigit) else {
            return "the cluster's identifier is not four letters or digits"
        }
        let ids =
            Array(accounts.keys) + Array(volumes.keys) + Array(snapshots.keys) + Array(groups.keys)
            + Array(initiators.keys) + Array(policies.keys) + Array(jobs.keys) + jobs.values.map(\.cloneID)
        guard nextID <= Int(Int32.max), ids.allSatisfy({ $0 > 0 && $0 < nextID }), Set(ids).count == ids.count else {
            return "identifiers are used twice or are not given out"
        }
        guard accounts.allSatisfy({ $0.key == $0.value.accountID }),
            volumes.allSatisfy({ $0.key == $0.value.volumeID }),
            snapshots.allSatisfy({ $0.key == $0.value.snapshotID }),
            groups.allSatisfy({ $0.key == $0.value.volumeAccessGroupID }),
            initiators.allSatisfy({ $0.key == $0.value.initiatorID }),
            policies.allSatisfy({ $0.key == $0.value.qosPolicyID }), jobs.allSatisfy({ $0.key == $0.value.handle })
        else { return "identifiers differ" }
        for volume in volumes.values {
            guard accounts[volume.accountID] != nil else { return "volume \(volume.volumeID) has no account" }
            guard Self.isPossible(volume.totalSize), (1...1_000_000_000).contains(volume.generation) else {
                return "volume \(volume.volumeID) has an impossible size"
            }
            guard volume.qos.isPossible else { return "volume \(volume.volumeID) has an impossible policy" }
            guard (volume.status == .deleted) == (volume.purgeTime != nil) else {
                return "volume \(volume.volumeID) is deleted and is not"
            }
            guard volume.name.utf8.allSatisfy({ $0.isLetterOrDigit || $0 == UInt8(ascii: "-") }) else {
                return "volume \(volume.volumeID) has an impossible name"
            }
            if let policy = volume.qosPolicyID, policies[policy] == nil {
                return "volume \(volume.volumeID) has a policy that does not exist"
            }
        }
        guard Set(accounts.values.map(\.username)).count == accounts.count else { return "accounts share a name" }
        guard Set(initiators.values.map(\.name)).count == initiators.count else { return "initiators share a name" }
        for snapshot in snapshots.values {
            guard volumes[snapshot.volumeID] != nil else { return "snapshot \(snapshot.snapshotID) has no volume" }
            guard Self.isPossible(snapshot.totalSize) else {
                return "snapshot \(snapshot.snapshotID) has an impossible size"
            }
        }
        guard defaultQoS.isPossible, policies.values.allSatisfy(\.qos.isPossible) else {
            return "a policy is impossible"
        }
        guard volumes.count <= 1_000_000 else { return "there are \(volumes.count) volumes" }
        for group in groups.values {
            let members = group.volumes + group.deletedVolumes
            guard Set(members).count == members.count,
                group.volumes.allSatisfy({ volumes[$0].map { $0.status != .deleted } ?? false }),
                group.deletedVolumes.allSatisfy({ volumes[$0]?.status == .deleted }),
                group.initiatorIDs.allSatisfy({ initiators[$0] != nil }),
                Set(group.initiatorIDs).count == group.initiatorIDs.count
            else { return "access group \(group.volumeAccessGroupID) has members that do not exist" }
        }
        for volume in volumes.values where volume.status == .creating {
            guard jobs.values.contains(where: { $0.volumeID == volume.volumeID && !$0.isComplete }) else {
                return "volume \(volume.volumeID) is made by nobody"
            }
        }
        return nil
    }

    /// Some thousand times what the array allows.
    private static func isPossible(_ size: Int) -> Bool {
        (1...1 << 43).contains(size) && size.isMultiple(of: 1 << 20)
    }

    /// What must be kept of the volumes' bytes.
    var dataIDs: Set<String> { Set(volumes.values.map(\.dataID) + snapshots.values.map(\.dataID)) }
}

import BlockStorage

/// An operation of more than one step, as it is recorded before the first: all that it takes to finish or undo it when
/// its process dies.
///
/// Nothing is undone by the name that it is going to have: that may be somebody else's by then. What takes long is
/// built under a name that nobody else has (`temporaryName`), and gets its own in one step.
enum Workflow: Codable, Equatable, Sendable {
    /// A volume that was not there comes to be, with its record; under another name at first where that is given.
    case make(VolumeRecord, builtAs: String?)
    /// A template is imported; it is about to be published, with its record, once that is given.
    case importTemplate(VolumeAddress, TemplateRow?)
    /// A volume or template goes, with its record.
    case delete(VolumeAddress)
    case rename(VolumeAddress, to: String)
    /// A volume that is not made yet is recorded, with its reservation.
    case allocate(VolumeRecord)
    /// The policy of a volume that is not made yet changes, to that of the record.
    case setPolicy(VolumeRecord)
    /// A volume that is not made yet gets another name or pool.
    case moveLazy(VolumeAddress, to: VolumeAddress)
    case migrate(Migration)
    /// What a pool does on its own account.
    case pool(Intent)

    /// A volume on its way from one pool to another.
    struct Migration: Codable, Equatable, Sendable {
        enum Stage: String, Codable, Sendable {
            /// The volume is in the source. What is in the target, under the other name, may be incomplete.
            case copying
            /// The copy is complete and durable, and about to get its name.
            case copied
            /// The volume is in the target; what is in the source is going.
            case switched
            /// The volume is in the source again, which could not be deleted; what is in the target is going.
            case returning
        }

        var source: VolumeAddress
        var target: VolumeAddress
        /// The name in the target while the copy is made.
        var builtAs: String
        /// What the target's record is going to be.
        var record: VolumeRecord
        var stage = Stage.copying
    }

    /// A name that no other volume has or had.
    static func temporaryName() -> String {
        let digits = (0..<2).map { _ in
            let digits = String(UInt64.random(in: .min ... .max), radix: 16)
            return String(repeating: "0", count: 16 - digits.count) + digits
        }
        return "sluice-incomplete-" + digits.joined()
    }

    /// The volumes that it changes: while it runs, their locks are held.
    var volumes: [VolumeAddress] {
        switch self {
        case .make(let record, _), .allocate(let record), .setPolicy(let record): [record.address]
        case .importTemplate(let template, _): [template]
        case .delete(let volume): [volume]
        case .rename(let volume, let newName): [volume, VolumeAddress(pool: volume.pool, name: newName)]
        case .moveLazy(let volume, let target): [volume, target]
        case .migrate(let migration): [migration.source, migration.target]
        case .pool(let intent): [VolumeAddress(pool: intent.pool, name: intent.volume)]
        }
    }

    /// For people: what is being done to what.
    var description: String {
        switch self {
        case .make(let record, _), .allocate(let record): "the creation of \(record.address)"
        case .setPolicy(let record): "the change of the policy of \(record.address)"
        case .importTemplate(let template, _): "the import of \(template)"
        case .delete(let volume): "the deletion of \(volume)"
        case .rename(let volume, let newName): "the renaming of \(volume) to \(newName)"
        case .moveLazy(let volume, let target): "the move of \(volume) to \(target)"
        case .migrate(let migration): "the migration of \(migration.source) to \(migration.target)"
        case .pool(let intent): "a \(intent.operation) of \(intent.pool)/\(intent.volume)"
        }
    }
}

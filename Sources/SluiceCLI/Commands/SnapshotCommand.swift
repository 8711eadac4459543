import ArgumentParser
import BlockStorage
import Sluice

struct SnapshotCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "snapshot", abstract: "Snapshots of volumes, also of those that are served.",
        discussion: "Example: sluice snapshot create fast/web@monday",
        subcommands: [Create.self, List.self, Delete.self, Revert.self, Protect.self, Unprotect.self])

    struct Create: HostCommand {
        static let configuration = CommandConfiguration(
            commandName: "create", abstract: "Keep what a volume holds now.",
            discussion: "Example: sluice snapshot create fast/web@monday")

        @OptionGroup var global: GlobalOptions
        @Argument(help: "POOL/NAME@SNAPSHOT.")
        var snapshot: VolumeAddress

        func run(_ context: CommandContext) async throws -> ExitCode {
            let made = try await context.host.createSnapshot(try snapshot.snapshotName(), of: snapshot)
            return context.print(made.json, "created \(snapshot)")
        }
    }

    struct List: HostCommand {
        static let configuration = CommandConfiguration(
            commandName: "list", abstract: "List a volume's snapshots.",
            discussion: "Example: sluice snapshot list fast/web")

        @OptionGroup var global: GlobalOptions
        @Argument(help: "POOL/NAME.")
        var volume: VolumeAddress

        func run(_ context: CommandContext) async throws -> ExitCode {
            let volume = try volume.withoutSnapshot("list snapshots")
            let snapshots = try await context.host.listSnapshots(of: volume)
            var table = TextTable(
                .text("NAME"), .number("SIZE"), .number("USED"), .text("CREATED"), .text("PROTECTED"), .text("CHILDREN")
            )
            for snapshot in snapshots {
                table.add(
                    snapshot.name, ByteCount(snapshot.size).text, ByteCount(snapshot.usedBytes).text,
                    Times.rfc3339(snapshot.createdAt), snapshot.isProtected ? "yes" : "no",
                    snapshot.children.isEmpty ? "-" : snapshot.children.joined(separator: " "))
            }
            return context.print(
                ["snapshots": .array(snapshots.map(\.json))],
                snapshots.isEmpty ? "no snapshot of \(volume)" : table.text(width: Terminal.width))
        }
    }

    struct Delete: HostCommand {
        static let configuration = CommandConfiguration(
            commandName: "delete", abstract: "Delete a snapshot; one that is not there is deleted already.",
            discussion: "Example: sluice snapshot delete fast/web@monday")

        @OptionGroup var global: GlobalOptions
        @Argument(help: "POOL/NAME@SNAPSHOT.")
        var snapshot: VolumeAddress

        func run(_ context: CommandContext) async throws -> ExitCode {
            try await context.host.deleteSnapshot(try snapshot.snapshotName(), of: snapshot)
            return context.print(["deleted": .string("\(snapshot)")], "deleted \(snapshot)")
        }
    }

    struct Revert: HostCommand {
        static let configuration = CommandConfiguration(
            commandName: "revert", abstract: "Make a volume what it was at a snapshot; refused while it is in use.",
            discussion: "Example: sluice snapshot revert fast/web@monday")

        @OptionGroup var global: GlobalOptions
        @Argument(help: "POOL/NAME@SNAPSHOT.")
        var snapshot: VolumeAddress

        func run(_ context: CommandContext) async throws -> ExitCode {
            try await context.host.revert(snapshot, to: try snapshot.snapshotName())
            return try await context.printDetails(
                VolumeAddress(pool: snapshot.pool, name: snapshot.name), "reverted to \(snapshot)")
        }
    }

    struct Protect: HostCommand {
        static let configuration = CommandConfiguration(
            commandName: "protect", abstract: "Keep a snapshot from being deleted.",
            discussion: "Example: sluice snapshot protect fast/web@monday")

        @OptionGroup var global: GlobalOptions
        @Argument(help: "POOL/NAME@SNAPSHOT.")
        var snapshot: VolumeAddress

        func run(_ context: CommandContext) async throws -> ExitCode {
            try await context.host.setProtected(true, snapshot: try snapshot.snapshotName(), of: snapshot)
            return context.print(["protected": .string("\(snapshot)")], "protected \(snapshot)")
        }
    }

    struct Unprotect: HostCommand {
        static let configuration = CommandConfiguration(
            commandName: "unprotect", abstract: "Let a snapshot be deleted again.",
            discussion: "Example: sluice snapshot unprotect fast/web@monday")

        @OptionGroup var global: GlobalOptions
        @Argument(help: "POOL/NAME@SNAPSHOT.")
        var snapshot: VolumeAddress

        func run(_ context: CommandContext) async throws -> ExitCode {
            try await context.host.setProtected(false, snapshot: try snapshot.snapshotName(), of: snapshot)
            return context.print(["unprotected": .string("\(snapshot)")], "\(snapshot) may be deleted")
        }
    }
}

extension VolumeAddress {
    /// Throws `invalidArgument` for a volume where a snapshot is wanted.
    fileprivate func snapshotName() throws(StorageError) -> String {
        if let snapshot { return snapshot }
        throw StorageError(.invalidArgument, "name snapshot", at: "\(self)", why: "use POOL/NAME@SNAPSHOT")
    }
}

extension SnapshotDescription {
    fileprivate var json: JSON {
        [
            "name": .string(name), "size": .unsigned(size), "usedBytes": .unsigned(usedBytes),
            "createdAt": .string(Times.rfc3339(createdAt)), "protected": .bool(isProtected),
            "children": .array(children.map(JSON.string)),
        ]
    }
}

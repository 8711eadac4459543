import ArgumentParser
import BlockStorage
import Sluice

extension VolumeCommand {
    struct Flatten: HostCommand {
        static let configuration = CommandConfiguration(
            commandName: "flatten", abstract: "Make a linked clone independent of its template.",
            discussion: "Example: sluice volume flatten fast/web")

        @OptionGroup var global: GlobalOptions
        @Argument(help: "POOL/NAME.")
        var volume: VolumeAddress

        func run(_ context: CommandContext) async throws -> ExitCode {
            let volume = try volume.withoutSnapshot("flatten volume")
            try await context.host.flattenVolume(volume)
            return try await context.printDetails(volume, "\(volume) depends on nothing now")
        }
    }

    struct Rename: HostCommand {
        static let configuration = CommandConfiguration(
            commandName: "rename", abstract: "Give a volume another name in its pool.",
            discussion: "Example: sluice volume rename fast/web www")

        @OptionGroup var global: GlobalOptions
        @Argument(help: "POOL/NAME.")
        var volume: VolumeAddress
        @Argument(help: "The new name, without the pool.")
        var newName: String

        func run(_ context: CommandContext) async throws -> ExitCode {
            let volume = try volume.withoutSnapshot("rename volume")
            try await context.host.renameVolume(volume, to: newName)
            return try await context.printDetails(
                VolumeAddress(pool: volume.pool, name: newName), "renamed \(volume) to \(volume.pool)/\(newName)")
        }
    }

    struct BreakLock: HostCommand {
        static let configuration = CommandConfiguration(
            commandName: "break-lock", abstract: "End the hold of a program that is dead on a volume.",
            discussion: """
                What a host had begun with the volume of an array that never comes back is ended, too: what it was making or \
                deleting is deleted, and what it was changing is as before or done.

                Example: sluice volume break-lock fast/web
                """)

        @OptionGroup var global: GlobalOptions
        @Argument(help: "POOL/NAME.")
        var volume: VolumeAddress

        func run(_ context: CommandContext) async throws -> ExitCode {
            let volume = try volume.withoutSnapshot("break lock")
            try await context.host.breakLock(of: volume)
            guard let details = try await left(of: volume, context) else {
                return context.print(
                    ["deleted": .string("\(volume)")],
                    "\(volume) is gone: a host that vanished had begun to make or to delete it")
            }
            return context.print(details.json, "nobody holds \(volume) any more")
        }

        private func left(of volume: VolumeAddress, _ context: CommandContext) async throws -> VolumeDetails? {
            do throws(StorageError) {
                return try await context.host.volumeDetails(volume)
            } catch {
                if error.code == .notFound { return nil }
                throw error
            }
        }
    }

    struct Adopt: HostCommand {
        static let configuration = CommandConfiguration(
            commandName: "adopt", abstract: "Take over what is in the pool already.",
            discussion: "Example: sluice volume adopt fast/old.qcow2 --format qcow2")

        @OptionGroup var global: GlobalOptions
        @Argument(help: "POOL/NAME.")
        var volume: VolumeAddress
        @Option(help: "What it is: qcow2 or raw. It is never guessed.")
        var format: VolumeFormat

        func run(_ context: CommandContext) async throws -> ExitCode {
            let volume = try volume.withoutSnapshot("adopt volume")
            let details = try await context.host.adoptVolume(volume, format: format)
            return context.print(details.json, "adopted \(volume) as \(format.rawValue)")
        }
    }

    struct Check: HostCommand {
        static let configuration = CommandConfiguration(
            commandName: "check", abstract: "Check a volume's metadata.",
            discussion: """
                Exit codes are those of qemu-img: 0 clean, 2 corrupt, 3 leaks only.

                Example: sluice volume check fast/web
                Example: sluice volume check fast/web --repair leaks
                """)

        @OptionGroup var global: GlobalOptions
        @Argument(help: "POOL/NAME.")
        var volume: VolumeAddress
        @Option(help: "leaks, or all (corruptions as well).")
        var repair: Repair?

        enum Repair: String, ExpressibleByArgument, CaseIterable {
            case leaks, all

            var check: CheckRepair { self == .leaks ? .leaks : .all }
        }

        func run(_ context: CommandContext) async throws -> ExitCode {
            let volume = try volume.withoutSnapshot("check volume")
            let report = try await context.host.checkVolume(volume, repair: repair?.check ?? .none)
            context.print(report.json, report.text(of: volume))
            return switch report.outcome {
            case .clean: .success
            case .corrupt: ExitCode(2)
            case .leaks: ExitCode(3)
            }
        }
    }
}

extension CheckReport {
    fileprivate var json: JSON {
        [
            "outcome": .string(outcome.rawValue), "corruptions": .signed(Int64(corruptions)),
            "leaks": .signed(Int64(leaks)), "allocatedClusters": .unsigned(allocatedClusters),
            "corruptionsFixed": .signed(Int64(corruptionsFixed)), "leaksFixed": .signed(Int64(leaksFixed)),
            "findings": .array(findings.map(JSON.string)),
        ]
    }

    fileprivate func text(of volume: VolumeAddress) -> String {
        var lines = findings
        if corruptionsFixed > 0 { lines.append("\(corruptionsFixed) corruptions fixed") }
        if leaksFixed > 0 { lines.append("\(leaksFixed) leaks fixed") }
        switch outcome {
        case .clean: lines.append("\(volume) is clean: \(allocatedClusters) clusters allocated")
        case .leaks: lines.append("\(volume) leaks \(leaks) clusters: no data is at risk, --repair leaks frees them")
        case .corrupt: lines.append("\(volume) is corrupt: \(corruptions) errors, \(leaks) leaked clusters")
        }
        return lines.joined(separator: "\n")
    }
}

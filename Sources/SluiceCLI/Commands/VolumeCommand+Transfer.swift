import ArgumentParser
import BlockStorage
import Sluice

extension VolumeCommand {
    struct Copy: HostCommand {
        static let configuration = CommandConfiguration(
            commandName: "copy", abstract: "Copy a volume or snapshot to a new volume of any pool.",
            discussion: """
                Holes stay holes. Nothing is left behind when the copy fails. Again succeeds while both hold the same.

                Example: sluice volume copy fast/web@monday slow/web-monday --verify
                """)

        @OptionGroup var global: GlobalOptions
        @Argument(help: "POOL/SOURCE or POOL/SOURCE@SNAPSHOT.")
        var source: VolumeAddress
        @Argument(help: "POOL/NAME of the new volume.")
        var target: VolumeAddress
        @Flag(help: "Read both again afterwards and compare them.")
        var verify = false

        func run(_ context: CommandContext) async throws -> ExitCode {
            let target = try target.withoutSnapshot("copy volume")
            let start = ContinuousClock.now
            _ = try await context.watch(context.host.copyVolume(source, to: target, verifies: verify))
            return try await context.printDetails(
                target, "copied \(source) to \(target) in \(Times.text(ContinuousClock.now - start))")
        }
    }

    struct Migrate: HostCommand {
        static let configuration = CommandConfiguration(
            commandName: "migrate", abstract: "Move a volume to another pool, with its policy and tags.",
            discussion: """
                Nobody may use the volume meanwhile, and clones and snapshots of it must be gone. It is deleted where it \
                was when the copy is complete, and it is in one of the two pools whenever this is interrupted.

                Example: sluice volume migrate fast/web slow --verify
                """)

        @OptionGroup var global: GlobalOptions
        @Argument(help: "POOL/NAME.")
        var volume: VolumeAddress
        @Argument(help: "The pool to move to.")
        var pool: String
        @Flag(help: "Read both and compare them before the volume is deleted where it was.")
        var verify = false

        func run(_ context: CommandContext) async throws -> ExitCode {
            let volume = try volume.withoutSnapshot("migrate volume")
            _ = try await context.watch(context.host.migrateVolume(volume, to: pool, verifies: verify), "moving")
            let target = VolumeAddress(pool: pool, name: volume.name)
            return try await context.printDetails(target, "moved \(volume) to \(target)")
        }
    }
}

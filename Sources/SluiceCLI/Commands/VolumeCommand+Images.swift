import ArgumentParser
import BlockStorage
import Sluice
import SystemPackage
import Templates

extension ImageFile.Format: ExpressibleByArgument {}

extension VolumeCommand {
    struct Import: HostCommand {
        static let configuration = CommandConfiguration(
            commandName: "import", abstract: "Make a volume from an image file of this host.",
            discussion: """
                An image that refers to other files is refused. Nothing is left behind when the import fails.

                Example: sluice volume import fast/web web.qcow2 --format qcow2
                """)

        @OptionGroup var global: GlobalOptions
        @Argument(help: "POOL/NAME of the new volume.")
        var volume: VolumeAddress
        @Argument(help: "The image.", completion: .file())
        var file: String
        @Option(help: "What the image is: qcow2, qcow (version 1) or raw. It is never guessed.")
        var format: ImageFile.Format

        func run(_ context: CommandContext) async throws -> ExitCode {
            let volume = try volume.withoutSnapshot("import volume")
            let start = ContinuousClock.now
            let details = try await context.watch(
                context.host.importVolume(volume, from: FilePath(file), format), "importing")
            let elapsed = ContinuousClock.now - start
            return context.print(
                details.json(elapsed: elapsed), "imported \(file) as \(volume) in \(Times.text(elapsed))")
        }
    }

    struct Export: HostCommand {
        static let configuration = CommandConfiguration(
            commandName: "export", abstract: "Write a volume or snapshot into a new image file of this host.",
            discussion: """
                The file appears when it is complete. Nothing is ever overwritten.

                Example: sluice volume export fast/web@monday monday.qcow2 --format qcow2 --compress
                """)

        @OptionGroup var global: GlobalOptions
        @Argument(help: "POOL/NAME or POOL/NAME@SNAPSHOT.")
        var volume: VolumeAddress
        @Argument(help: "The image to make.", completion: .file())
        var file: String
        @Option(help: "What the image will be: qcow2 or raw.")
        var format: VolumeFormat
        @Flag(help: "Compress the clusters of a qcow2 image (zlib).")
        var compress = false

        func validate() throws {
            if compress, format == .raw { throw ValidationError("--compress is for --format qcow2") }
        }

        func run(_ context: CommandContext) async throws -> ExitCode {
            let start = ContinuousClock.now
            try await context.watch(
                context.host.exportVolume(
                    volume, to: FilePath(file), format, compression: compress ? .zlib : nil), "exporting")
            let text = "exported \(volume) to \(file) in \(Times.text(ContinuousClock.now - start))"
            return context.print(
                ["volume": .string("\(volume)"), "file": .string(file), "format": .string(format.rawValue)], text)
        }
    }
}

import ArgumentParser
import BlockStorage
import Sluice

extension VolumeCommand {
    struct XML: HostCommand {
        static let configuration = CommandConfiguration(
            commandName: "xml", abstract: "Print the libvirt <disk> element of a volume.",
            discussion: """
                While the volume is served, the disk is its NBD export. The limits of its policy are in it where the \
                hypervisor enforces them: for files, and for exports that were started so. Where the disk refers to a \
                secret, --secret prints what 'virsh secret-define' takes; its value is in the file that --json names.

                Example: sluice volume xml fast/web
                """)

        @OptionGroup var global: GlobalOptions
        @Argument(help: "POOL/NAME or POOL/NAME@SNAPSHOT.")
        var volume: VolumeAddress
        @Flag(help: "Let guests wait for an export that restarts; for libvirt newer than 9.0.")
        var reconnect = false
        @Flag(help: "Print the <secret> that the disk refers to instead, without its value.")
        var secret = false

        func run(_ context: CommandContext) async throws -> ExitCode {
            let disk = try await context.host.hypervisorDisk(volume)
            let xml = try disk.libvirtXML(reconnects: reconnect)
            guard secret else {
                return context.print(
                    [
                        "xml": .string(xml), "secret": JSON(disk.libvirtSecretXML),
                        "secretFile": JSON(disk.secretFile),
                        "differences": .array(disk.differences.map(JSON.string)),
                    ], xml)
            }
            guard let definition = disk.libvirtSecretXML else {
                throw StorageError(.notFound, "print secret", at: "\(volume)", why: "its disk refers to none")
            }
            return context.print(["secret": .string(definition), "secretFile": JSON(disk.secretFile)], definition)
        }
    }

    struct QEMU: HostCommand {
        static let configuration = CommandConfiguration(
            commandName: "qemu", abstract: "Print QEMU's -blockdev arguments of a volume.",
            discussion: """
                One line for a shell. While the volume is served, the block device is its NBD export, which survives \
                a restart of the export.

                Example: qemu-system-x86_64 … $(sluice volume qemu fast/web) -device virtio-blk-pci,drive=sluice-web
                """)

        @OptionGroup var global: GlobalOptions
        @Argument(help: "POOL/NAME or POOL/NAME@SNAPSHOT.")
        var volume: VolumeAddress

        func run(_ context: CommandContext) async throws -> ExitCode {
            let disk = try await context.host.hypervisorDisk(volume)
            let arguments = disk.qemuArguments
            return context.print(
                [
                    "arguments": .array(arguments.map(JSON.string)), "nodeName": .string(disk.nodeName),
                    "differences": .array(disk.differences.map(JSON.string)),
                ],
                arguments.map(shellQuoted).joined(separator: " "))
        }

        private func shellQuoted(_ text: String) -> String {
            let plain = text.utf8.allSatisfy { byte in
                let character = Character(Unicode.Scalar(byte))
                return byte < 0x80 && (character.isLetter || character.isNumber || "-_./,=:+@%".contains(character))
            }
            return plain && !text.isEmpty ? text : "'\(text.replacing("'", with: "'\\''"))'"
        }
    }
}

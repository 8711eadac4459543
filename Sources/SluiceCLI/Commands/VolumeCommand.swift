import ArgumentParser
import BlockStorage
import Sluice

struct VolumeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "volume", abstract: "Make, look at, change and move volumes.",
        discussion: "Example: sluice volume clone fast/debian fast/web",
        subcommands: [
            Create.self, Clone.self, List.self, Info.self, Map.self, Resize.self, SetQoS.self, Delete.self,
            Flatten.self, Rename.self, BreakLock.self, Copy.self, Migrate.self, Adopt.self,
            Import.self, Export.self, Check.self, XML.self, QEMU.self,
        ])
}

extension VolumeCommand {
    struct Create: HostCommand {
        static let configuration = CommandConfiguration(
            commandName: "create", abstract: "Make a volume that reads as zeros.",
            discussion: """
                The same again succeeds. A name without a pool, with --tags, lets Sluice choose a pool that has all \
                the tags and the most room.

                Example: sluice volume create fast/data --size 10G --max-iops 5000
                Example: sluice volume create data --size 10G --tags ssd
                """)

        @OptionGroup var global: GlobalOptions
        @Argument(help: "POOL/NAME, or NAME with --tags.")
        var name: String
        @Option(help: ArgumentHelp("Virtual size.", valueName: "s"))
        var size: ByteCount
        @Option(help: "qcow2 or raw; without it, the pool's usual one.")
        var format: VolumeFormat?
        @Option(help: "thin, sparse (metadata allocated) or fat (all allocated).")
        var provisioning: ProvisioningType = .thin
        @Flag(help: "Record it now, and make it when it is first used.")
        var lazy = false
        @Option(help: ArgumentHelp("Tags that the pool must have, separated by commas.", valueName: "t,…"))
        var tags: String?
        @OptionGroup(title: "QoS options") var qos: QoSOptions

        func run(_ context: CommandContext) async throws -> ExitCode {
            let requirements = VolumeRequirements(
                size: size.bytes, format: format, provisioning: provisioning, qos: try qos.policy(), isLazy: lazy)
            let start = ContinuousClock.now
            let details = try await create(context, requirements)
            let elapsed = ContinuousClock.now - start
            return context.print(
                details.json(elapsed: elapsed),
                "created \(details.pool)/\(details.name), \(ByteCount(details.virtualSize).text), in \(Times.text(elapsed))"
            )
        }

        private func create(
            _ context: CommandContext, _ requirements: VolumeRequirements
        ) async throws -> VolumeDetails {
            guard let tags else {
                let volume = try VolumeAddress(name).withoutSnapshot("create volume")
                return try await context.host.createVolume(volume, requirements)
            }
            guard !name.contains("/") else {
                throw ValidationError("--tags chooses a pool, and '\(name)' names one")
            }
            let wanted = tags.split(separator: ",").map(String.init)
            return try await context.host.createVolume(name, tags: wanted, requirements)
        }
    }

    struct Clone: HostCommand {
        static let configuration = CommandConfiguration(
            commandName: "clone", abstract: "Make a volume from a template, a volume or a snapshot.",
            discussion: """
                A linked clone shares the blocks of its source until it writes. Pools that differ need --full.

                Example: sluice volume clone fast/debian fast/web --size 20G
                Example: sluice volume clone fast/web@monday fast/restored --full
                """)

        @OptionGroup var global: GlobalOptions
        @Argument(help: "POOL/SOURCE or POOL/SOURCE@SNAPSHOT.")
        var source: VolumeAddress
        @Argument(help: "POOL/NAME of the new volume.")
        var target: VolumeAddress
        @Option(help: ArgumentHelp("Virtual size, at least that of the source.", valueName: "s"))
        var size: ByteCount?
        @Flag(help: "Copy everything: a volume that depends on nothing.")
        var full = false
        @OptionGroup(title: "QoS options") var qos: QoSOptions

        func run(_ context: CommandContext) async throws -> ExitCode {
            let target = try target.withoutSnapshot("clone volume")
            let request = CloneRequest(size: size?.bytes, isFull: full, qos: try qos.policy())
            let start = ContinuousClock.now
            let details = try await context.watch(context.host.cloneVolume(source, to: target, request))
            let elapsed = ContinuousClock.now - start
            return context.print(
                details.json(elapsed: elapsed), "cloned \(source) to \(target) in \(Times.text(elapsed))")
        }
    }

    struct List: HostCommand {
        static let configuration = CommandConfiguration(
            commandName: "list", abstract: "List a pool's volumes.", discussion: "Example: sluice volume list fast")

        @OptionGroup var global: GlobalOptions
        @Argument(help: "The pool.")
        var pool: String

        func run(_ context: CommandContext) async throws -> ExitCode {
            let volumes = try await context.host.listVolumes(in: pool)
            return context.print(["volumes": .array(volumes.map(\.json))], volumes.table("no volume in \(pool)"))
        }
    }

    struct Info: HostCommand {
        static let configuration = CommandConfiguration(
            commandName: "info", abstract: "Show all that is known of a volume.",
            discussion: "Example: sluice volume info fast/web --json")

        @OptionGroup var global: GlobalOptions
        @Argument(help: "POOL/NAME.")
        var volume: VolumeAddress

        func run(_ context: CommandContext) async throws -> ExitCode {
            let details = try await context.host.volumeDetails(try volume.withoutSnapshot("show volume"))
            return context.print(details.json, details.text)
        }
    }

    struct Map: HostCommand {
        static let configuration = CommandConfiguration(
            commandName: "map", abstract: "List the extents of a volume or snapshot: data, zero or hole.",
            discussion: "Example: sluice volume map fast/web")

        @OptionGroup var global: GlobalOptions
        @Argument(help: "POOL/NAME or POOL/NAME@SNAPSHOT.")
        var volume: VolumeAddress

        func run(_ context: CommandContext) async throws -> ExitCode {
            // Printed as it comes: the map of a fragmented volume may be larger than memory should be.
            var printer = ExtentPrinter(isJSON: context.isJSON)
            try await context.host.map(volume) { printer.print($0) }
            printer.finish()
            return .success
        }
    }

    struct Resize: HostCommand {
        static let configuration = CommandConfiguration(
            commandName: "resize", abstract: "Set a volume's virtual size, also while it is served.",
            discussion: "Example: sluice volume resize fast/web 40G")

        @OptionGroup var global: GlobalOptions
        @Argument(help: "POOL/NAME.")
        var volume: VolumeAddress
        @Argument(help: "The new size.")
        var size: ByteCount
        @Flag(help: "Allow a smaller size; what is beyond it is lost.")
        var shrink = false

        func run(_ context: CommandContext) async throws -> ExitCode {
            let volume = try volume.withoutSnapshot("resize volume")
            try await context.host.resizeVolume(volume, to: size.bytes, allowShrink: shrink)
            // Storage may round it up.
            let details = try await context.host.volumeDetails(volume)
            return context.print(details.json, "\(volume) has \(ByteCount(details.virtualSize).text)")
        }
    }

    struct SetQoS: HostCommand {
        static let configuration = CommandConfiguration(
            commandName: "set-qos", abstract: "Change a volume's QoS policy, also while it is served.",
            discussion: """
                What is not given stays as it is; 0 removes a value.

                Example: sluice volume set-qos fast/web --max-iops 2000 --burst-iops 4000
                """)

        @OptionGroup var global: GlobalOptions
        @Argument(help: "POOL/NAME.")
        var volume: VolumeAddress
        @OptionGroup(title: "QoS options") var qos: QoSOptions

        func validate() throws {
            if qos.minimum == nil, qos.maximum == nil, qos.burst == nil {
                throw ValidationError("give at least one of --min-iops, --max-iops, --burst-iops")
            }
        }

        func run(_ context: CommandContext) async throws -> ExitCode {
            let volume = try volume.withoutSnapshot("set QoS")
            let current = try await context.host.volumeDetails(volume).qos
            let values = [
                qos.minimum ?? current?.minIOPS, qos.maximum ?? current?.maxIOPS, qos.burst ?? current?.burstIOPS,
            ].map { $0 == 0 ? nil : $0 }
            let policy = try QoSPolicy(minIOPS: values[0], maxIOPS: values[1], burstIOPS: values[2])
            try await context.host.setQoS(values.allSatisfy { $0 == nil } ? nil : policy, of: volume)
            return try await context.printDetails(volume, "changed the policy of \(volume)")
        }
    }

    struct Delete: HostCommand {
        static let configuration = CommandConfiguration(
            commandName: "delete", abstract: "Delete a volume; one that is not there is deleted already.",
            discussion: "Example: sluice volume delete fast/web")

        @OptionGroup var global: GlobalOptions
        @Argument(help: "POOL/NAME.")
        var volume: VolumeAddress
        @Option(help: "What happens to clones of it: refuse, flatten or trash.")
        var policy: DeletePolicy = .refuse

        func run(_ context: CommandContext) async throws -> ExitCode {
            try await context.host.deleteVolume(try volume.withoutSnapshot("delete volume"), policy: policy)
            return context.print(["deleted": .string("\(volume)")], "deleted \(volume)")
        }
    }
}

extension CommandContext {
    /// Prints `volume info` for scripts, or a sentence for people.
    func printDetails(_ volume: VolumeAddress, _ text: String) async throws -> ExitCode {
        guard isJSON else { return print(.null, text) }
        let details = try await host.volumeDetails(volume)
        return print(details.json, text)
    }
}

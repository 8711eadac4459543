import ArgumentParser
import BlockStorage
import Sluice
import SystemPackage

struct PoolCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pool", abstract: "Register pools and look at them.",
        discussion: "Example: sluice pool info fast",
        subcommands: [Add.self, List.self, Info.self, Remove.self])

    struct Add: HostCommand {
        static let configuration = CommandConfiguration(
            commandName: "add", abstract: "Register a pool after checking that it answers.",
            discussion: """
                The same again succeeds. A secret in the URL moves to the secret store and is never shown again. \
                Parameters of all URLs: deadline=SECONDS, overprovisioning=FACTOR, force=true.

                Example: sluice pool add fast dir:///srv/fast --tag ssd
                Example: sluice pool add shared 'sharedmountpoint:///mnt/ocfs2?deadline=30'
                Example: sluice pool add ceph rbd://cloudstack@mon1,mon2,mon3/cloudstack --secret-file key
                Example: sluice pool add ceph 'rbd://cloudstack@[2001:db8::1]:3300/cloudstack?data-pool=ec' --secret-file key
                Example: sluice pool add array 'element://mvip?user=admin&ca=/etc/sluice/array.pem' --secret-file password
                Example: sluice pool add box 'tgt://10.0.0.7:3260?directory=/srv/units'
                """)

        @OptionGroup var global: GlobalOptions
        @Argument(help: "What the pool will be called.")
        var name: String
        @Argument(
            help: """
                dir:///PATH, sharedmountpoint:///PATH, rbd://USER@MONITOR[,MONITOR…]/POOL, element://MVIP?user=NAME or \
                tgt://HOST:PORT?directory=DIR.
                """)
        var url: String
        @Option(
            name: .customLong("tag"), help: ArgumentHelp("A tag that volumes can ask for; repeat it.", valueName: "t"))
        var tags: [String] = []
        @Option(help: ArgumentHelp("The bytes that may be used.", valueName: "n"))
        var capacityBytes: ByteCount?
        @Option(
            name: .customLong("capacity-iops"),
            help: ArgumentHelp("The IOPS that minimums may add up to.", valueName: "n"))
        var capacityIOPS: UInt64?
        @Option(help: ArgumentHelp("A file of mode 0600 that holds the bare secret.", valueName: "f"))
        var secretFile: String?

        func run(_ context: CommandContext) async throws -> ExitCode {
            let secret = try secretFile.map { try Secret.read(file: FilePath($0)) }
            let pool = try await context.host.addPool(
                PoolRegistration(
                    name: name, url: url, tags: tags, capacityBytes: capacityBytes?.bytes, capacityIOPS: capacityIOPS,
                    secret: secret))
            return context.print(pool.json, "added pool \(pool.name) at \(pool.url)")
        }
    }

    struct List: HostCommand {
        static let configuration = CommandConfiguration(
            commandName: "list", abstract: "List the registered pools.", discussion: "Example: sluice pool list --json")

        @OptionGroup var global: GlobalOptions

        func run(_ context: CommandContext) async throws -> ExitCode {
            let pools = try await context.host.listPools()
            var table = TextTable(.text("NAME"), .text("KIND"), .text("URL"))
            for pool in pools { table.add(pool.name, pool.kind, pool.url) }
            return context.print(
                ["pools": .array(pools.map(\.json))],
                pools.isEmpty ? "no pool: add one with 'sluice pool add'" : table.text(width: Terminal.width))
        }
    }

    struct Info: HostCommand {
        static let configuration = CommandConfiguration(
            commandName: "info", abstract: "Show a pool's capacity, use and capabilities.",
            discussion: "Example: sluice pool info fast")

        @OptionGroup var global: GlobalOptions
        @Argument(help: "The pool.")
        var name: String

        func run(_ context: CommandContext) async throws -> ExitCode {
            let pool = try await context.host.poolDetails(name)
            return context.print(pool.json, pool.text)
        }
    }

    struct Remove: HostCommand {
        static let configuration = CommandConfiguration(
            commandName: "remove", abstract: "Forget a pool; what is in it stays.",
            discussion: "Example: sluice pool remove fast")

        @OptionGroup var global: GlobalOptions
        @Argument(help: "The pool.")
        var name: String

        func run(_ context: CommandContext) async throws -> ExitCode {
            try await context.host.removePool(name)
            return context.print(["name": .string(name)], "removed pool \(name); its volumes are still in it")
        }
    }
}

extension PoolSummary {
    fileprivate var json: JSON { ["name": .string(name), "kind": .string(kind), "url": .string(url)] }
}

extension PoolDetails {
    fileprivate var json: JSON {
        [
            "name": .string(name), "kind": .string(kind), "url": .string(url), "tags": .array(tags.map(JSON.string)),
            "capacityBytes": .unsigned(capacityBytes), "allocatedBytes": .unsigned(allocatedBytes),
            "availableBytes": .unsigned(availableBytes), "provisionedBytes": .unsigned(provisionedBytes),
            "deadlineSeconds": .unsigned(UInt64(clamping: deadlineSeconds)), "health": .string(health.text),
            "capacityIOPS": JSON(capacityIOPS), "allocatedIOPS": .unsigned(allocatedIOPS),
            "capabilities": .array(capabilities.map(\.json)),
        ]
    }

    fileprivate var text: String {
        var lines = Lines()
        lines.add("name", name)
        lines.add("kind", kind)
        lines.add("url", url)
        lines.add("tags", tags.isEmpty ? "none" : tags.joined(separator: " "))
        lines.add("capacity", ByteCount(capacityBytes).text)
        lines.add("allocated", ByteCount(allocatedBytes).text)
        lines.add("available", ByteCount(availableBytes).text)
        lines.add("provisioned", "\(ByteCount(provisionedBytes).text) in volumes and templates")
        if let volumeCount { lines.add("volumes", "\(volumeCount)") }
        lines.add("deadline", "\(deadlineSeconds) s")
        lines.add("health", health.text)
        lines.add("IOPS", "\(allocatedIOPS) of \(capacityIOPS.map { "\($0)" } ?? "unlimited") promised")
        lines.add("capabilities", capabilities.map(\.text).joined(separator: " "))
        return lines.text(width: Terminal.width)
    }
}

extension PoolHealth {
    fileprivate var text: String {
        switch self {
        case .healthy: "healthy"
        case .unresponsive(let reason): "unresponsive: \(reason)"
        }
    }
}

extension Capability {
    fileprivate var json: JSON {
        [
            "name": .string(feature.rawValue), "format": .array(formats.map { .string($0.rawValue) }),
            "state": .array(states.map { .string($0.rawValue) }),
        ]
    }

    fileprivate var text: String {
        let conditions = formats.map(\.rawValue) + states.map(\.rawValue)
        return conditions.isEmpty ? feature.rawValue : "\(feature.rawValue)(\(conditions.joined(separator: ",")))"
    }
}

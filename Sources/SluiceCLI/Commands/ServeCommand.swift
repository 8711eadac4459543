import ArgumentParser
import BlockStorage
import Dispatch
import Foundation
import IORuntime
import Sluice

struct ServeCommand: HostCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve", abstract: "Export a volume by NBD until SIGTERM, then flush and close it.",
        discussion: """
            A line 'serving POOL/NAME on ADDRESS' says that clients may connect. Other sluice commands on the volume \
            are done by this process meanwhile. TCP has neither encryption nor authentication: beyond loopback it \
            needs --insecure, as metrics do.

            Example: sluice serve fast/web --socket /run/web.sock
            Example: sluice serve fast/web --socket /run/web.sock --metrics 127.0.0.1:9402
            Example: sluice serve fast/web@monday --socket /run/monday.sock
            Example: sluice serve --list
            """)

    @OptionGroup var global: GlobalOptions
    @Argument(help: "POOL/NAME, or POOL/NAME@SNAPSHOT to read.")
    var volume: VolumeAddress?
    @Option(help: ArgumentHelp("Listen on a Unix socket of mode 0600.", valueName: "path"), completion: .file())
    var socket: String?
    @Option(help: ArgumentHelp("Listen on TCP; port 0 lets the system choose.", valueName: "host:port"))
    var listen: HostAndPort?
    @Flag(help: "Refuse writes, and share the volume with other readers.")
    var readOnly = false
    @Flag(help: "Allow --listen and --metrics beyond loopback.")
    var insecure = false
    @Option(
        help: ArgumentHelp("Serve metrics as Prometheus text, at http://HOST:PORT/metrics.", valueName: "host:port"))
    var metrics: HostAndPort?
    @Option(
        help: ArgumentHelp(
            "Who holds the volume to its maximum IOPS; 'hypervisor' puts the limits into 'volume xml' and 'volume qemu'.",
            valueName: "layer"))
    var enforce: QoSEnforcer?
    @Option(
        help: ArgumentHelp(
            "What librbd's caches of this host's volumes may take together: beyond it a volume has none.",
            valueName: "s"))
    var cacheLimit = ByteCount(AttachOptions.defaultCacheLimit)
    @Flag(help: "List the exports that run on this host.")
    var list = false

    var showsMetrics: Bool { metrics != nil }

    func validate() throws {
        if list {
            guard volume == nil, socket == nil, listen == nil, metrics == nil else {
                throw ValidationError("--list takes no volume and no address")
            }
            return
        }
        guard volume != nil else { throw ValidationError("missing expected argument '<volume>', or --list") }
        guard socket != nil || listen != nil else { throw ValidationError("give --socket or --listen") }
        if socket?.isEmpty == true { throw ValidationError("--socket is empty") }
    }

    func run(_ context: CommandContext) async throws -> ExitCode {
        guard let volume, !list else { return try await printExports(context) }
        var addresses: [Socket.Address] = []
        if let socket {
            let path = socket.hasPrefix("/") ? socket : FileManager.default.currentDirectoryPath + "/" + socket
            addresses.append(.unix(path: path))
        }
        if let listen { addresses.append(.tcp(host: listen.host, port: listen.port)) }
        // From here on a signal is a request to stop, also while the volume is being opened.
        let signals = TerminationSignals()
        let metricsServer = try await startMetrics(context)
        let export = try await context.host.exportVolume(
            volume,
            ExportOptions(
                addresses: addresses, isReadOnly: readOnly, allowsInsecureRemote: insecure, enforcer: enforce,
                cacheLimit: cacheLimit.bytes))
        let places = export.listeners.map(\.description)
        context.print(
            [
                "volume": .string("\(volume)"), "listeners": .array(places.map(JSON.string)),
                "metrics": JSON(metricsServer?.address.description),
            ],
            "serving \(volume) on \(places.joined(separator: " and "))"
                + (metricsServer.map { ", metrics on \($0.address)" } ?? ""))
        await signals.next()
        await metricsServer?.stop()
        try await export.stop()
        return .success
    }

    private func startMetrics(_ context: CommandContext) async throws(StorageError) -> MetricsServer? {
        guard let metrics, let backend = context.metrics else { return nil }
        return try await MetricsServer.start(
            host: metrics.host, port: metrics.port, allowsInsecureRemote: insecure
        ) { [host = context.host] in
            host.publishMetrics()
            return backend.text()
        }
    }

    private func printExports(_ context: CommandContext) async throws -> ExitCode {
        let exports = try await context.host.runningExports()
        var table = TextTable(
            .text("VOLUME"), .text("MODE"), .text("ADDRESS"), .number("PID"), .text("SINCE"),
            .number("CACHE"), .text("STACK"))
        for export in exports {
            table.add(
                "\(export.address)", export.mode.rawValue, export.listeners.joined(separator: " "),
                "\(export.processID)", Times.rfc3339(export.since), export.cache?.short ?? "-", export.stack)
        }
        let cacheBytes = exports.reduce(0 as UInt64) { $0.addingSaturating($1.cache?.byteCount ?? 0) }
        var text = exports.isEmpty ? "no export is running" : table.text(width: Terminal.width)
        if exports.contains(where: { $0.cache != nil }) {
            text += "\n\(ByteCount(cacheBytes).text) of memory in caches"
        }
        return context.print(
            ["exports": .array(exports.map(\.json)), "cacheBytes": .unsigned(cacheBytes)], text)
    }
}

extension QoSEnforcer: ExpressibleByArgument {}

extension RunningAttachment {
    fileprivate var json: JSON {
        [
            "volume": .string("\(address)"), "mode": .string(mode.rawValue),
            "listeners": .array(listeners.map(JSON.string)), "socket": JSON(socketPath),
            "pid": .signed(Int64(processID)), "since": .string(Times.rfc3339(since)),
            "stack": .string(stack), "enforcedBy": .string(enforcer.rawValue),
            "cacheBytes": JSON(cache?.byteCount),
        ]
    }
}

extension CacheMemory {
    /// For a column: `32.0 MiB`, `none`.
    var short: String { byteCount > 0 ? ByteCount(byteCount).text : "none" }

    /// For a line: with the reason where there is none.
    var text: String {
        isRefused ? "none: the caches of this host's other volumes take what is allowed" : short
    }
}

/// SIGTERM and SIGINT, as something to wait for.
private final class TerminationSignals: Sendable {
    private let received: AsyncStream<Void>
    private let sources: Locked<[any DispatchSourceSignal]>

    init() {
        let (stream, continuation) = AsyncStream.makeStream(of: Void.self)
        received = stream
        sources = Locked(
            [SIGTERM, SIGINT].map { number in
                signal(number, SIG_IGN)
                let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
                source.setEventHandler { continuation.yield() }
                source.resume()
                return source
            })
    }

    func next() async {
        for await _ in received { return }
    }
}

/// `HOST:PORT`, `[IPV6]:PORT`.
struct HostAndPort: ExpressibleByArgument {
    var host: String
    var port: UInt16

    init?(argument: String) {
        guard let colon = argument.lastIndex(of: ":"), let port = UInt16(argument[argument.index(after: colon)...])
        else { return nil }
        var host = argument[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = host.dropFirst().dropLast()
        } else if host.contains(":") {
            return nil
        }
        guard !host.isEmpty else { return nil }
        (self.host, self.port) = (String(host), port)
    }
}

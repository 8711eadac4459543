import ArgumentParser
import BlockStorage
import ElementSimulator
import Foundation
import IORuntime
import Logging
import ServiceLifecycle
import SystemPackage
import TGTControl
import UnixSignals

/// `element-simulator`, a stand-in for a NetApp Element cluster.
@main
struct ElementSimulatorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "element-simulator",
        abstract: "A stand-in for a NetApp Element (SolidFire) cluster, for those who write drivers for one.",
        discussion: """
            Answers the array's JSON-RPC: accounts, volumes, clones, snapshots, access groups, QoS policies, statistics, \
            limits, with the array's own names of errors. What it answers is kept in --directory and is there after a \
            restart, also after kill -9.

            Faults: --fault METHOD:EFFECT[,after=N][,count=N], as often as wanted, METHOD being * for any. EFFECT is \
            fail=NAME (not done, an error of that name), delay=SECONDS (done, answered late), drop (done, the connection \
            ends without an answer), job=NAME (the clone ends with that error), error=NAME (the same, with the status \
            "error"), endless (the clone never ends). The methods SimulatorAddFault {"method", \
            "fail"|"delay"|"drop"|"job"|"error"|"endless", "after", "count"}, SimulatorListFaults and \
            SimulatorRemoveFaults {"method"} do the same while it runs. SimulatorSetVolumeLoad {"volumeID", "iops", \
            "ioSize"} makes a volume's statistics those of a load.

            With --tgt each volume is a target of a running tgtd, which asks for the account's secret (by CHAP), or where the \
            volume is in access groups with initiators lets these in. Unit 0 is tgtd's own, the volume is unit 1. A tgtd that was \
            restarted gets its targets back. Bytes are in sparse files, and policies slow down nobody.

            Example:
              element-simulator --directory /srv/element --http 127.0.0.1:8080 --password-file password
              curl --user admin:PASSWORD -d '{"method":"GetClusterInfo","id":1}' http://127.0.0.1:8080/json-rpc/12.3/
            """,
        version: "0.1.0")

    @Option(help: ArgumentHelp("Keep the cluster here; in memory only otherwise.", valueName: "dir"))
    var directory: String?

    @Option(help: ArgumentHelp("Answer HTTP at this address; port 0 is any.", valueName: "host:port"))
    var http: String?

    @Option(help: ArgumentHelp("Answer HTTPS at this address; needs --certificate and --key.", valueName: "host:port"))
    var https: String?

    @Option(help: ArgumentHelp("The certificate chain, PEM.", valueName: "file"))
    var certificate: String?

    @Option(help: ArgumentHelp("The certificate's key, PEM.", valueName: "file"))
    var key: String?

    @Option(
        help: ArgumentHelp("Volumes are logical units of a tgtd: its control port, or its socket.", valueName: "n|path")
    )
    var tgt: String?

    @Option(help: ArgumentHelp("Where their bytes are; DIRECTORY/luns otherwise.", valueName: "dir"))
    var luns: String?

    @Option(help: "The cluster administrator's name.")
    var user = "admin"

    @Option(help: ArgumentHelp("File or /dev/fd/N with the administrator's password.", valueName: "file"))
    var passwordFile: String

    @Option(
        help: ArgumentHelp(
            "Limits: documented (50 to 15,000, up to 200,000) or conservative (100, 100,000).", valueName: "name"))
    var profile = Profile.documented

    @Option(
        help: ArgumentHelp(
            "The smallest volume, which real arrays keep at 1000000000: tests are faster with less.",
            valueName: "bytes"))
    var smallestVolume = 1_000_000_000

    @Option(help: "What the cluster holds, in bytes.")
    var capacityBytes = 20_000_000_000_000

    @Option(help: "What the cluster does, in 4 KiB operations a second.")
    var capacityIops = 200_000

    @Option(help: ArgumentHelp("How long a clone takes.", valueName: "seconds"))
    var cloneSeconds = 1.0

    @Option(help: ArgumentHelp("How long a deleted volume can be restored.", valueName: "seconds"))
    var purgeSeconds = 28_800.0

    @Option(help: ArgumentHelp("Four letters or digits, part of targets' names; random otherwise.", valueName: "id"))
    var clusterID: String?

    @Option(help: ArgumentHelp("The storage address that GetClusterInfo tells.", valueName: "host"))
    var storageAddress = "127.0.0.1"

    @Option(help: ArgumentHelp("A fault to begin with; see above.", valueName: "fault"))
    var fault: [FaultPlan.Fault] = []

    @Option(help: "trace, debug, info, notice, warning, error or critical, to standard error.")
    var logLevel = Logger.Level.warning

    enum Profile: String, ExpressibleByArgument, CaseIterable { case documented, conservative }

    func validate() throws {
        guard http != nil || https != nil else { throw ValidationError("one of --http and --https is needed") }
        guard https == nil || (certificate != nil && key != nil) else {
            throw ValidationError("--https needs --certificate and --key")
        }
        guard tgt == nil || directory != nil else { throw ValidationError("--tgt needs --directory") }
        guard capacityBytes > 0, capacityIops > 0 else { throw ValidationError("capacities are more than 0") }
        guard (1...1_000_000_000_000).contains(smallestVolume) else {
            throw ValidationError("--smallest-volume is 1 to 1000000000000")
        }
        guard (0...1e6).contains(cloneSeconds), (0...1e9).contains(purgeSeconds) else {
            throw ValidationError("--clone-seconds is 0 to 1000000, --purge-seconds 0 to 1000000000")
        }
        if let clusterID {
            guard clusterID.utf8.count == 4, clusterID.allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber) }) else {
                throw ValidationError("--cluster-id has four letters or digits")
            }
        }
        for address in [http, https] {
            if let address { _ = try Self.parse(address) }
        }
    }

    func run() async throws {
        LoggingSystem.bootstrap { label in StreamLogHandler.standardError(label: label) }
        var logger = Logger(label: "element-simulator")
        logger.logLevel = logLevel
        do {
            try await serve(logger)
        } catch let error as StorageError {
            try? FileHandle.standardError.write(contentsOf: Data("error: \(error)\n".utf8))
            throw ExitCode.failure
        }
    }

    private func serve(_ logger: Logger) async throws {
        let password = try readPassword()
        var configuration = ElementConfiguration()
        configuration.limits = profile == .documented ? .documented : .conservative
        configuration.limits.volumeSize = smallestVolume...configuration.limits.volumeSize.upperBound
        configuration.capacityBytes = capacityBytes
        configuration.capacityIOPS = capacityIops
        configuration.cloneSeconds = cloneSeconds
        configuration.purgeSeconds = purgeSeconds
        configuration.clusterID = clusterID?.lowercased()
        configuration.storageAddress = storageAddress
        if let address = https ?? http { configuration.managementAddress = try Self.parse(address).host }
        let array = try await ElementArray.open(
            configuration, directory: directory.map { FilePath($0) }, backend: try await backend(),
            faults: FaultPlan(fault),
            logger: logger)
        var services: [any Service] = tgt == nil ? [] : [Watch(array: array)]
        for (scheme, address) in [("http", http), ("https", https)] {
            guard let address else { continue }
            let (host, port) = try Self.parse(address)
            var pair: ElementServer.Certificate?
            if scheme == "https", let certificate, let key {
                pair = ElementServer.Certificate(certificatePath: certificate, keyPath: key)
            }
            let server = ElementServer(
                array, user: user, password: password, host: host, port: port, certificate: pair, logger: logger)
            services.append(
                try server.service { port in
                    let line = Data("\(scheme)://\(host):\(port)/json-rpc/\n".utf8)
                    try? FileHandle.standardOutput.write(contentsOf: line)
                })
        }
        var group = ServiceGroupConfiguration(
            services: services, gracefulShutdownSignals: [.sigterm, .sigint], logger: logger)
        // Connections that say nothing are not waited for.
        group.maximumGracefulShutdownDuration = .seconds(2)
        try await ServiceGroup(configuration: group).run()
    }

    /// Nothing without a tgtd.
    private func backend() async throws -> any VolumeBackend {
        guard let tgt, let directory else { return NoVolumes() }
        let luns = luns ?? "\(directory)/luns"
        try FileManager.default.createDirectory(
            atPath: luns, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        // One that hangs does not hold up calls for long.
        let deadline = Duration.seconds(5)
        let control =
            UInt16(tgt).map { TGTControl(port: $0, deadline: deadline) } ?? TGTControl(path: tgt, deadline: deadline)
        return try await TGTVolumes.open(directory: FilePath(luns), control: control)
    }

    /// Keeps targets and statistics up to date.
    private struct Watch: Service {
        let array: ElementArray

        func run() async { await cancelWhenGracefulShutdown { await array.watch() } }
    }

    /// `HOST:PORT`, the host perhaps in brackets.
    private static func parse(_ address: String) throws -> (host: String, port: Int) {
        guard let colon = address.lastIndex(of: ":"), let port = UInt16(address[address.index(after: colon)...]),
            colon > address.startIndex
        else { throw ValidationError("\(address) is not HOST:PORT") }
        let host = address[..<colon].drop { $0 == "[" }.prefix { $0 != "]" }
        return (String(host), Int(port))
    }

    private func readPassword() throws -> Secret {
        guard let file = FileHandle(forReadingAtPath: passwordFile),
            let bytes = try file.read(upToCount: Secret.largestByteCount),
            let text = String(validating: bytes, as: UTF8.self)
        else { throw StorageError(.notFound, "read password", at: passwordFile, why: "it cannot be read as text") }
        let password = text.prefix { !$0.isNewline }
        guard !password.isEmpty else {
            throw StorageError(.invalidArgument, "read password", at: passwordFile, why: "it is empty")
        }
        return Secret(String(password))
    }
}

extension FaultPlan.Fault: ExpressibleByArgument {
    public init?(argument: String) { self.init(argument) }
}

extension Logger.Level: @retroactive ExpressibleByArgument {}

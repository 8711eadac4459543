import ArgumentParser
import BlockStorage
import Sluice
import SystemPackage
import Templates

/// What web servers may do before an import gives up, and what mirrors are near.
struct DownloadArguments: ParsableArguments {
    @Option(help: ArgumentHelp("Where this host is, for metalinks: the code of its country.", valueName: "code"))
    var location: String?

    @Option(
        name: .customLong("ca-file"),
        help: ArgumentHelp("Certificates, in PEM, of authorities to trust besides the system's.", valueName: "file"),
        completion: .file())
    var authorities: String?

    @Option(
        name: .customLong("credentials-file"),
        help: ArgumentHelp("USER:PASSWORD for the server of the URL.", valueName: "file"), completion: .file())
    var credentialsFile: String?

    @Option(name: .customLong("max-download"), help: ArgumentHelp("The largest file.", valueName: "size"))
    var largestSize = ByteCount(DownloadLimits().largestSize)

    @Option(name: .customLong("max-metalink"), help: ArgumentHelp("The largest metalink.", valueName: "size"))
    var largestMetalink = ByteCount(UInt64(DownloadLimits().largestMetalink))

    @Option(
        name: .customLong("max-header"), help: ArgumentHelp("The largest header of an answer.", valueName: "size"))
    var largestHeader = ByteCount(UInt64(DownloadLimits().largestHeader))

    @Option(name: .customLong("max-redirects"), help: ArgumentHelp("How many redirects to follow.", valueName: "n"))
    var redirects = DownloadLimits().redirects

    @Option(
        name: .customLong("min-rate"),
        help: ArgumentHelp("The lowest rate in bytes a second, over a rate window.", valueName: "size"))
    var lowestRate = ByteCount(DownloadLimits().lowestRate)

    @Option(name: .customLong("rate-window"), help: ArgumentHelp("How long to measure it.", valueName: "seconds"))
    var rateWindow = DownloadLimits().rateWindow / .seconds(1)

    @Option(
        name: .customLong("idle-timeout"),
        help: ArgumentHelp("How long a server may say nothing.", valueName: "seconds"))
    var idleTime = DownloadLimits().idleTime / .seconds(1)

    @Option(
        name: .customLong("connect-timeout"),
        help: ArgumentHelp("How long it may take to connect.", valueName: "seconds"))
    var connectTime = DownloadLimits().connectTime / .seconds(1)

    @Option(
        name: .customLong("max-time"),
        help: ArgumentHelp("How long all of a download may take, with every attempt.", valueName: "seconds"))
    var totalTime = DownloadLimits().totalTime / .seconds(1)

    @Option(
        help: ArgumentHelp(
            "How often a location may fail, and, counted apart, send wrong bytes, before it is left.", valueName: "n"))
    var attempts = DownloadLimits().attempts

    @Option(help: ArgumentHelp("How many mirrors to read from at the same time.", valueName: "n"))
    var mirrors = DownloadLimits().parallelMirrors

    func validate() throws {
        for (name, value) in [
            ("rate-window", rateWindow), ("idle-timeout", idleTime), ("connect-timeout", connectTime),
            ("max-time", totalTime),
        ] where !(0.01...1e9 ~= value) {
            throw ValidationError("--\(name) takes 0.01 to 1000000000 seconds")
        }
        guard redirects >= 0, (1...100) ~= attempts, (1...100) ~= mirrors else {
            throw ValidationError("--attempts and --mirrors take 1 to 100, --max-redirects no negative number")
        }
    }

    /// Reads the file of credentials, if there is one.
    func options() throws(StorageError) -> DownloadOptions {
        var options = DownloadOptions()
        options.location = location
        options.authorities = authorities.map { FilePath($0) }
        options.credentials = try credentialsFile.map { path throws(StorageError) in
            try Secret.read(file: FilePath(path)).reveal { DownloadCredentials(userAndPassword: $0) }
        }
        options.limits.largestSize = largestSize.bytes
        options.limits.largestMetalink = Int(clamping: min(largestMetalink.bytes, 1 << 30))
        options.limits.largestHeader = Int(clamping: largestHeader.bytes)
        options.limits.redirects = redirects
        options.limits.lowestRate = lowestRate.bytes
        options.limits.rateWindow = .seconds(rateWindow)
        options.limits.idleTime = .seconds(idleTime)
        options.limits.connectTime = .seconds(connectTime)
        options.limits.totalTime = .seconds(totalTime)
        options.limits.attempts = attempts
        options.limits.parallelMirrors = mirrors
        return options
    }
}

import BlockStorage

/// How a hypervisor attaches a volume: its file with an explicit backing chain, or its NBD export while one runs.
public struct HypervisorDisk: Equatable, Sendable {
    /// A file of an image, and its format: never one to be guessed.
    struct Image: Equatable, Sendable {
        var path: String
        var format: VolumeFormat
    }

    enum Source: Equatable, Sendable {
        /// The image, then what it is a clone of, and so on.
        case files([Image])
        /// A Unix socket, or a host and a port.
        case export(NBDAddress, name: String)
    }

    enum NBDAddress: Equatable, Sendable {
        case unix(String)
        case tcp(host: String, port: String)
    }

    /// How long a guest's requests wait for an export that restarts, in seconds.
    static let reconnectDelay = 300

    let address: VolumeAddress
    let source: Source
    let isReadOnly: Bool

    /// QEMU's name of the block device: letters, digits and `-`, at most 31 characters.
    public var nodeName: String {
        let plain = "sluice-" + "\(address.reference)".map { $0.isASCII && ($0.isLetter || $0.isNumber) ? $0 : "-" }
        guard plain.utf8.count > 31 || plain != "sluice-\(address.reference)" else { return plain }
        // Names that differ only where they are cut or replaced must still differ: FNV-1a of the whole address.
        var hash: UInt32 = 2_166_136_261
        for byte in "\(address)".utf8 { hash = (hash ^ UInt32(byte)) &* 16_777_619 }
        return "\(plain.prefix(22))-\(String(hash, radix: 16))"
    }

    /// `-blockdev` and its value. Nothing in them is a secret.
    public var qemuArguments: [String] {
        var options: [(String, String)]
        switch source {
        case .files(let images):
            options = [("driver", images.first?.format.rawValue ?? "raw"), ("node-name", nodeName)]
            options += isReadOnly ? [("read-only", "on")] : [("discard", "unmap")]
            var prefix = ""
            for (index, image) in images.enumerated() {
                if index > 0 { options.append(("\(prefix)driver", image.format.rawValue)) }
                options += [("\(prefix)file.driver", "file"), ("\(prefix)file.filename", image.path)]
                prefix += "backing."
            }
        case .export(let server, let name):
            options = [("driver", "nbd"), ("node-name", nodeName)]
            options += isReadOnly ? [("read-only", "on")] : [("discard", "unmap")]
            switch server {
            case .unix(let path): options += [("server.type", "unix"), ("server.path", path)]
            case .tcp(let host, let port):
                options += [("server.type", "inet"), ("server.host", host), ("server.port", port)]
            }
            options += [("export", name), ("reconnect-delay", "\(Self.reconnectDelay)")]
        }
        let value = options.map { "\($0)=\($1.replacing(",", with: ",,"))" }.joined(separator: ",")
        return ["-blockdev", value]
    }

    /// libvirt's `<disk>` element.
    public var libvirtXML: String {
        let discard = isReadOnly ? "" : " discard='unmap'"
        var lines: [String] = []
        switch source {
        case .files(let images):
            lines = [
                "<disk type='file' device='disk'>",
                "  <driver name='qemu' type='\(images.first?.format.rawValue ?? "raw")'\(discard)/>",
                "  <source file='\(Self.escaped(images.first?.path ?? ""))'/>",
            ]
            lines += Self.backingStore(images.dropFirst(), indent: "  ")
        case .export(let server, let name):
            let host =
                switch server {
                case .unix(let path): "<host transport='unix' socket='\(Self.escaped(path))'/>"
                case .tcp(let host, let port): "<host name='\(Self.escaped(host))' port='\(Self.escaped(port))'/>"
                }
            lines = [
                "<disk type='network' device='disk'>",
                "  <driver name='qemu' type='raw'\(discard)/>",
                "  <source protocol='nbd' name='\(Self.escaped(name))'>",
                "    \(host)",
                "    <reconnect delay='\(Self.reconnectDelay)'/>",
                "  </source>",
            ]
        }
        lines.append("  <target dev='vda' bus='virtio'/>")
        if isReadOnly { lines.append("  <readonly/>") }
        return (lines + ["</disk>"]).joined(separator: "\n")
    }

    /// The rest of the chain; an empty element ends it, so that libvirt looks for no more.
    private static func backingStore(_ images: ArraySlice<Image>, indent: String) -> [String] {
        guard let image = images.first else { return ["\(indent)<backingStore/>"] }
        return ["\(indent)<backingStore type='file'>", "\(indent)  <format type='\(image.format.rawValue)'/>"]
            + ["\(indent)  <source file='\(escaped(image.path))'/>"]
            + backingStore(images.dropFirst(), indent: indent + "  ") + ["\(indent)</backingStore>"]
    }

    private static func escaped(_ text: String) -> String {
        text.map { character in
            switch character {
            case "&": "&amp;"
            case "<": "&lt;"
            case ">": "&gt;"
            case "'": "&apos;"
            case "\"": "&quot;"
            default: String(character)
            }
        }.joined()
    }
}

extension StorageHost {
    /// Deeper chains of clones are refused.
    private static let longestChain = 64

    /// How a hypervisor of this host attaches the volume now.
    public func hypervisorDisk(_ volume: VolumeAddress) async throws(StorageError) -> HypervisorDisk {
        if let export = try await runningExports().first(where: { $0.address == volume }),
            let listener = export.nbdAddress
        {
            return HypervisorDisk(
                address: volume, source: .export(listener, name: "\(volume)"), isReadOnly: export.mode == .readOnly)
        }
        guard volume.snapshot == nil else {
            throw StorageError(
                .notSupported, "attach snapshot", at: "\(volume)",
                why: "QEMU opens no snapshot inside a file: serve it first")
        }
        try await materialise(volume)
        let pool = try await pool(volume.pool)
        var images: [HypervisorDisk.Image] = []
        var next: String? = volume.name
        while let name = next {
            let description = try await pool.describeVolume(name)
            guard let format = description.format, description.path.hasPrefix("/") else {
                throw StorageError(
                    .notSupported, "attach volume", at: "\(volume)", why: "\(name) is no file of a declared format")
            }
            guard images.count < Self.longestChain else {
                throw StorageError(.corrupt, "attach volume", at: "\(volume)", why: "its chain of clones has no end")
            }
            images.append(HypervisorDisk.Image(path: description.path, format: format))
            next = description.template?.name
        }
        return HypervisorDisk(address: volume, source: .files(images), isReadOnly: false)
    }
}

extension RunningExport {
    /// Where a hypervisor connects: the Unix socket before TCP.
    fileprivate var nbdAddress: HypervisorDisk.NBDAddress? {
        if let socketPath { return .unix(socketPath) }
        guard let tcp = listeners.first(where: { $0.hasPrefix("tcp:") })?.dropFirst("tcp:".count),
            let colon = tcp.lastIndex(of: ":")
        else { return nil }
        let host = tcp[..<colon].filter { $0 != "[" && $0 != "]" }
        return .tcp(host: host, port: String(tcp[tcp.index(after: colon)...]))
    }
}

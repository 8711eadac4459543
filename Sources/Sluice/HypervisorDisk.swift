import BlockStorage

/// How a hypervisor attaches a volume: its file with an explicit backing chain, its image in a cluster, its logical unit,
/// or its NBD export while one runs.
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
        /// An image in a Ceph cluster.
        case rbd(RBDImage)
        /// A logical unit of an iSCSI target.
        case iscsi(ISCSIDisk)
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
    /// What the hypervisor has to enforce.
    var limits: HypervisorLimits?

    /// QEMU's name of the block device: letters, digits and `-`, at most 31 characters.
    public var nodeName: String {
        let plain = "sluice-" + "\(address.reference)".map { $0.isASCII && ($0.isLetter || $0.isNumber) ? $0 : "-" }
        guard plain.utf8.count > 31 || plain != "sluice-\(address.reference)" else { return plain }
        // Names that differ only where they are cut or replaced must still differ: FNV-1a of the whole address.
        var hash: UInt32 = 2_166_136_261
        for byte in "\(address)".utf8 { hash = (hash ^ UInt32(byte)) &* 16_777_619 }
        return "\(plain.prefix(22))-\(String(hash, radix: 16))"
    }

    /// What the hypervisor does otherwise than the volume's policy says, where it is to enforce that; a sentence each.
    public var differences: [String] { limits?.differences ?? [] }

    /// `-blockdev` and its value, and before it the `-object` with the limits that QEMU is to enforce. Nothing in them
    /// is a secret.
    public var qemuArguments: [String] {
        let objects: [String] =
            switch source {
            case .rbd(let image): image.qemuObjects(nodeName)
            case .iscsi(let disk): disk.qemuObjects(nodeName)
            case .files, .export: []
            }
        let common: [Option] = [("node-name", nodeName), isReadOnly ? ("read-only", "on") : ("discard", "unmap")]
        var block = blockDevice
        guard let limits else {
            block.insert(contentsOf: common, at: 1)
            return objects + ["-blockdev", Self.text(block)]
        }
        // The filter is the device, and what it limits lies below it.
        let group = "\(nodeName)-limits"
        let filter = [("driver", "throttle")] + common + [("throttle-group", group)]
        block.insert(common[1], at: 1)
        return objects + [
            "-object", limits.qemuObject(group),
            "-blockdev", Self.text(filter + block.map { ("file.\($0.0)", $0.1) }),
        ]
    }

    typealias Option = (String, String)

    static func text(_ options: [Option]) -> String {
        options.map { "\($0)=\($1.replacing(",", with: ",,"))" }.joined(separator: ",")
    }

    /// The driver first, and then its options.
    private var blockDevice: [Option] {
        switch source {
        case .files(let images):
            var options: [Option] = [("driver", images.first?.format.rawValue ?? "raw")]
            var prefix = ""
            for (index, image) in images.enumerated() {
                if index > 0 { options.append(("\(prefix)driver", image.format.rawValue)) }
                options += [("\(prefix)file.driver", "file"), ("\(prefix)file.filename", image.path)]
                prefix += "backing."
            }
            return options
        case .export(let server, let name):
            let address: [Option] =
                switch server {
                case .unix(let path): [("server.type", "unix"), ("server.path", path)]
                case .tcp(let host, let port):
                    [("server.type", "inet"), ("server.host", host), ("server.port", port)]
                }
            return [("driver", "nbd")] + address
                + [("export", name), ("reconnect-delay", "\(Self.reconnectDelay)")]
        case .rbd(let image): return image.qemuOptions(nodeName)
        case .iscsi(let disk): return disk.qemuOptions(nodeName)
        }
    }

    /// libvirt's `<disk>` element.
    ///
    /// With `reconnects` libvirt has QEMU wait for an export that restarts, as `qemuArguments` do. libvirt 9.0, which
    /// Debian 12 has, does not know that element and its schema refuses it; newer ones take it.
    ///
    /// Throws `notSupported` for an image in a cluster whose key libvirt cannot be given.
    public func libvirtXML(reconnects: Bool = false) throws(StorageError) -> String {
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
            ]
            if reconnects { lines.append("    <reconnect delay='\(Self.reconnectDelay)'/>") }
            lines.append("  </source>")
        case .rbd(let image):
            lines = try image.libvirtLines(discard: discard)
        case .iscsi(let disk):
            lines = disk.libvirtLines(discard: discard)
        }
        lines.append("  <target dev='vda' bus='virtio'/>")
        if let limits { lines += limits.libvirtLines }
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

    static func escaped(_ text: String) -> String {
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
    ///
    /// It enforces the volume's policy where it is the one to do so: for an export that was started so, and for files
    /// that it opens itself, since no other layer is between. Throws `busy` while a process has the volume attached
    /// for itself.
    public func hypervisorDisk(_ volume: VolumeAddress) async throws(StorageError) -> HypervisorDisk {
        let attachments = try await runningAttachments().filter { $0.address == volume }
        let policy = try await details(of: volume.volume).qos
        if let export = attachments.first(where: \.isExport), let listener = export.nbdAddress {
            return HypervisorDisk(
                address: volume, source: .export(listener, name: "\(volume)"), isReadOnly: export.mode == .readOnly,
                limits: export.enforcer == .hypervisor ? policy.flatMap(HypervisorLimits.init) : nil)
        }
        if let holder = attachments.first(where: { $0.mode == .exclusive }) {
            throw Self.held(by: holder, "attach volume")
        }
        try await materialise(volume.volume)
        let pool = try await pool(volume.pool)
        let ownLimits = pool.enforcer != .none ? nil : policy.flatMap(HypervisorLimits.init)
        let described = try await pool.describeVolume(volume.name)
        if let image = try await rbdImage(volume, described, in: pool) {
            return HypervisorDisk(
                address: volume, source: .rbd(image), isReadOnly: volume.snapshot != nil || described.isTemplate,
                limits: ownLimits)
        }
        #if ISCSI
            if let disk = try await iscsiDisk(volume, described, in: pool) {
                return HypervisorDisk(
                    address: volume, source: .iscsi(disk), isReadOnly: described.isTemplate, limits: ownLimits)
            }
        #endif
        guard volume.snapshot == nil else {
            throw StorageError(
                .notSupported, "attach snapshot", at: "\(volume)",
                why: "QEMU opens no snapshot inside a file: serve it first")
        }
        var images: [HypervisorDisk.Image] = []
        var next: VolumeDescription? = described
        while let description = next {
            guard let format = description.format, description.path.hasPrefix("/") else {
                throw StorageError(
                    .notSupported, "attach volume", at: "\(volume)",
                    why: "\(description.name) is no file of a declared format")
            }
            guard images.count < Self.longestChain else {
                throw StorageError(.corrupt, "attach volume", at: "\(volume)", why: "its chain of clones has no end")
            }
            images.append(HypervisorDisk.Image(path: description.path, format: format))
            next = nil
            if let parent = description.template?.name { next = try await pool.describeVolume(parent) }
        }
        return HypervisorDisk(
            address: volume, source: .files(images), isReadOnly: described.isTemplate,
            limits: ownLimits)
    }

    /// The volume as an image in a Ceph cluster; nil where it is none, or has a format on top that has a chain.
    private func rbdImage(
        _ volume: VolumeAddress, _ description: VolumeDescription, in pool: any StoragePool
    ) async throws(StorageError) -> RBDImage? {
        guard pool.kind == RBDLocation.scheme, let record = try await catalog.pool(volume.pool) else { return nil }
        guard let format = description.format, format == .raw || description.template == nil else { return nil }
        return RBDImage(
            path: description.path, format: format, snapshot: volume.snapshot,
            location: try RBDLocation(try PoolURL.parse(record.url).url), secret: record.secret, secrets: secrets)
    }
}

extension RunningAttachment {
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

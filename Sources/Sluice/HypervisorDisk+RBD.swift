import BlockStorage
import SystemPackage

/// An image in a Ceph cluster, as QEMU and libvirt open it by themselves.
struct RBDImage: Equatable, Sendable {
    struct Monitor: Equatable, Sendable {
        var host: String
        var port: String?
    }

    /// What a hypervisor proves to the cluster who it is with. The key itself is in none of what is printed.
    struct Login: Equatable, Sendable {
        var user: String
        /// The secret's name in the secret store, a UUID: libvirt knows the key by it as well.
        var secret: String
        /// Where the key is.
        var secretFile: String
        /// For people, among libvirt's secrets.
        var usage: String
    }

    var format: VolumeFormat
    var pool: String
    var image: String
    var snapshot: String?
    var monitors: [Monitor]
    /// A `ceph.conf`.
    var configuration: String?
    var login: Login?

    /// `path` is `POOL/IMAGE`, as pools describe their volumes.
    init?(
        path: String, format: VolumeFormat, snapshot: String?, url: PoolURL, secret: String?, secrets: SecretStore
    ) {
        let parts = path.split(separator: "/", maxSplits: 1).map(String.init)
        guard url.scheme == "rbd", parts.count == 2 else { return nil }
        (self.format, pool, image, self.snapshot) = (format, parts[0], parts[1], snapshot)
        monitors = url.authority.split(separator: ",").map { monitor in
            // `[ADDRESS]:PORT`, or a host with or without a port.
            let colon = monitor.lastIndex(of: ":").flatMap { monitor.hasSuffix("]") ? nil : $0 }
            let host = monitor[..<(colon ?? monitor.endIndex)].filter { $0 != "[" && $0 != "]" }
            return Monitor(host: String(host), port: colon.map { String(monitor[monitor.index(after: $0)...]) })
        }
        configuration = url.parameters["conf"]
        login = secret.map { secret in
            Login(
                user: url.user ?? "admin", secret: secret.lowercased(),
                secretFile: secrets.directory.appending(secret).string, usage: "sluice \(url.scheme) \(url.authority)")
        }
    }

    /// What precedes the block device: the key, by the file that holds it.
    func qemuObjects(_ nodeName: String) -> [String] {
        guard let login else { return [] }
        let options = [("id", "\(nodeName)-key"), ("format", "base64"), ("file", login.secretFile)]
        return ["-object", "secret," + HypervisorDisk.text(options)]
    }

    func qemuOptions(_ nodeName: String) -> [HypervisorDisk.Option] {
        var options = [("driver", format.rawValue), ("file.driver", "rbd"), ("file.pool", pool), ("file.image", image)]
        if let snapshot { options.append(("file.snapshot", snapshot)) }
        if let configuration { options.append(("file.conf", configuration)) }
        if let login { options += [("file.user", login.user), ("file.key-secret", "\(nodeName)-key")] }
        for (index, monitor) in monitors.enumerated() {
            options.append(("file.server.\(index).host", monitor.host))
            options.append(("file.server.\(index).port", monitor.port ?? "6789"))
        }
        return options
    }

    /// The elements before `<target>`.
    func libvirtLines(driver: String) -> [String] {
        let escaped = HypervisorDisk.escaped
        var lines = ["<disk type='network' device='disk'>", driver]
        if let login {
            lines += ["  <auth username='\(escaped(login.user))'>", "    <secret type='ceph' uuid='\(login.secret)'/>"]
            lines.append("  </auth>")
        }
        lines.append("  <source protocol='rbd' name='\(escaped("\(pool)/\(image)"))'>")
        lines += monitors.map { monitor in
            let port = monitor.port.map { " port='\(escaped($0))'" } ?? ""
            return "    <host name='\(escaped(monitor.host))'\(port)/>"
        }
        if let snapshot { lines.append("    <snapshot name='\(escaped(snapshot))'/>") }
        if let configuration { lines.append("    <config file='\(escaped(configuration))'/>") }
        return lines + ["  </source>"]
    }
}

extension HypervisorDisk {
    /// libvirt's `<secret>` element, for the key that the disk refers to; nil where it needs none.
    ///
    /// It defines the secret without its value, which `virsh secret-set-value --file` takes from the secret store.
    public var libvirtSecretXML: String? {
        guard case .rbd(let image) = source, let login = image.login else { return nil }
        return """
            <secret ephemeral='no' private='yes'>
              <uuid>\(login.secret)</uuid>
              <usage type='ceph'>
                <name>\(Self.escaped(login.usage))</name>
              </usage>
            </secret>
            """
    }

    /// The file of the secret store that holds the value of `libvirtSecretXML`.
    public var secretFile: String? {
        guard case .rbd(let image) = source else { return nil }
        return image.login?.secretFile
    }
}

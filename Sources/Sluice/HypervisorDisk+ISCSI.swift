import BlockStorage

/// A logical unit, as QEMU and libvirt log in to it by themselves.
struct ISCSIDisk: Equatable, Sendable {
    /// What a hypervisor proves to the target who it is with. The secret itself is in none of what is printed.
    struct Login: Equatable, Sendable {
        var user: String
        /// The secret's name in the secret store, a UUID: libvirt knows it by that as well.
        var secret: String
        /// Where the secret is.
        var secretFile: String
    }

    var format: VolumeFormat
    /// `HOST:PORT`.
    var portal: String
    var target: String
    var lun: UInt16
    /// This host's name, by which reservations know it.
    var initiatorName: String
    var login: Login?
    var hasHeaderDigest: Bool

    /// What precedes the block device: the secret, by the file that holds it.
    func qemuObjects(_ nodeName: String) -> [String] {
        guard let login else { return [] }
        let options = [("id", "\(nodeName)-key"), ("format", "raw"), ("file", login.secretFile)]
        return ["-object", "secret," + HypervisorDisk.text(options)]
    }

    func qemuOptions(_ nodeName: String) -> [HypervisorDisk.Option] {
        var options = [
            ("driver", format.rawValue), ("file.driver", "iscsi"), ("file.transport", "tcp"), ("file.portal", portal),
            ("file.target", target), ("file.lun", "\(lun)"), ("file.initiator-name", initiatorName),
        ]
        if hasHeaderDigest { options.append(("file.header-digest", "crc32c")) }
        if let login {
            options += [("file.user", login.user), ("file.password-secret", "\(nodeName)-key")]
        }
        return options
    }

    /// The elements before `<target>`.
    func libvirtLines(discard: String) -> [String] {
        let escaped = HypervisorDisk.escaped
        let colon = portal.lastIndex(of: ":") ?? portal.endIndex
        let host = portal[..<colon].filter { $0 != "[" && $0 != "]" }
        var lines = [
            "<disk type='network' device='disk'>",
            "  <driver name='qemu' type='\(format.rawValue)' cache='none'\(discard)/>",
        ]
        if let login {
            lines += [
                "  <auth username='\(escaped(login.user))'>",
                "    <secret type='iscsi' uuid='\(login.secret)'/>",
                "  </auth>",
            ]
        }
        return lines + [
            "  <source protocol='iscsi' name='\(escaped("\(target)/\(lun)"))'>",
            "    <host name='\(escaped(host))' port='\(portal[colon...].dropFirst())'/>",
            "    <initiator>",
            "      <iqn name='\(escaped(initiatorName))'/>",
            "    </initiator>",
            "  </source>",
        ]
    }
}

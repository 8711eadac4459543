import BlockStorage

extension HypervisorDisk {
    /// What a hypervisor proves itself with: the secret's name, which is a UUID, its file, and what it is for, as libvirt
    /// says it.
    private var login: (secret: String, file: String, usage: [String])? {
        switch source {
        case .rbd(let image):
            image.login.map { login in
                let usage = ["<usage type='ceph'>", "  <name>\(Self.escaped(image.location.usage))</name>"]
                return (login.secret, login.secretFile, usage)
            }
        case .iscsi(let disk):
            disk.login.map { login in
                let target = "\(login.user)@\(disk.portal)"
                return (
                    login.secret, login.secretFile,
                    ["<usage type='iscsi'>", "  <target>\(Self.escaped(target))</target>"]
                )
            }
        case .files, .export: nil
        }
    }

    /// libvirt's `<secret>` element, for what the disk refers to; nil where it needs none.
    ///
    /// It defines the secret without its value, which `virsh secret-set-value --file` takes from the secret store. The
    /// usage says who proves himself with it, and where.
    public var libvirtSecretXML: String? {
        guard let login else { return nil }
        return """
            <secret ephemeral='no' private='yes'>
              <uuid>\(login.secret)</uuid>
              \(login.usage[0])
              \(login.usage[1])
              </usage>
            </secret>
            """
    }

    /// The file of the secret store that holds the value of `libvirtSecretXML`.
    public var secretFile: String? { login?.file }
}
